"""A silo as an operating-system process: event loop, signals, exit codes, forced end. `grange run` calls `run`.

SIGTERM and SIGINT drain the silo. Another signal, half a second later or more, ends the process at once. A process that
does not end within its time is ended by force, because code of grains may ignore its cancellation. After SIGINT, which
a person sends, a process whose event loop does not react is ended within seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any, Self

from grange.aio.stacks import blocked_stack
from grange.cli.exit_codes import ExitCode, exit_code
from grange.counted import counted
from grange.silo.loop_watch import end_dead_process
from grange.silo.silo import Silo, run_until

try:
    from uvloop import new_event_loop
except ImportError:  # uvloop does not support Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

log = logging.getLogger("grange.silo")

HTTP_PORT = 8080
"""The admin port of a silo of `grange run`, unless the option `http` says otherwise."""

SAME_SIGNAL = 0.5
"""Seconds in which signals count as one: `timeout`, `make` and terminals signal a process and its group at once."""

DRAIN_MARGIN = 60.0
"""Seconds beyond the drain time-out that a stop takes in the worst case: leaving 10, cancelled turns and the
deactivations after them 15, handing over 5, goodbyes 2, writing its own death 5, tasks 5, and a margin for a busy
machine."""

REACTION_TIMEOUT = 2.5
"""Seconds within which the event loop must react to SIGINT (Ctrl-C) or to the end of standard input."""

REACTION_STEP = 0.25
"""Seconds of one step of that wait."""

EXIT_GRACE = 10.0
"""Seconds from the stop of the silo to the forced end of the process. Threads that still run then are code of grains.
"""

TASKS_GRACE = 3.0
"""`EXIT_GRACE` in seconds if cancelled tasks have not ended: a longer wait would not help."""


def _nothing() -> None:
    """Do nothing: the default of `StopSignals.at_once`."""


class StopSignals:
    """SIGTERM and SIGINT inside a `with`: the first asks for a stop, the second ends the process at once.

    Enter it before anything slow: a process that is PID 1 of a container ignores SIGTERM until it has a handler.
    Before `attach` there is nothing to drain, so the first signal ends the process with code 0. `at_once` is called
    before the second signal ends the process. A forked child does not inherit the handlers' effect: a signal ends it.
    """

    def __init__(self, at_once: Callable[[], None] = _nothing) -> None:
        self._at_once = at_once
        self._process = os.getpid()
        self._reacted = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._asked = asyncio.Event()
        self._first: float | None = None
        self._stop_limit: float | None = None
        self._previous: dict[int, Any] = {}

    def attach(self, stop_limit: float | None = None) -> asyncio.Event:
        """From now on a signal sets the returned event, in the running loop.

        The process ends by force `stop_limit` seconds after the signal, or after `limit_stop`: a turn that blocks the
        event loop would prevent every orderly stop. None: no limit.
        """
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stop_limit = stop_limit
        if self._first is not None:
            self._asked.set()
        return self._asked

    def stop(self, by_person: bool = True) -> None:
        """Ask for the stop from another thread, as a signal does. Asking again changes nothing.

        `by_person`: end the process with `LOOP_DEAD` if its event loop does not react within `REACTION_TIMEOUT`. A
        supervisor gives more time: to it, a long turn that blocks the loop is a planned stop that must fail no call.
        """
        if self._first is None:
            self._first = time.monotonic()  # not the loop's time, which stands still while a turn blocks the loop
            self.limit_stop()
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._react)
                if by_person:
                    threading.Thread(target=self._end_unless_reacted, name="grange-reaction", daemon=True).start()

    def _react(self) -> None:
        self._reacted.set()
        self._asked.set()

    def _end_unless_reacted(self) -> None:
        """Runs in a thread. It waits in short steps, so that a stop of the whole process hardly counts."""
        for _ in range(round(REACTION_TIMEOUT / REACTION_STEP)):
            if self._reacted.wait(REACTION_STEP):
                return
        end_dead_process(
            f"the event loop did not react to the request to stop within {REACTION_TIMEOUT:g} s; it runs this:\n"
            + blocked_stack(self._loop_thread)
        )

    def limit_stop(self) -> None:
        """The stop begins: apply its time limit, also when no signal asked for the stop."""
        if self._stop_limit is not None:
            kill_after(self._stop_limit, ExitCode.BUG, "the silo did not stop; a turn may block its event loop")
            self._stop_limit = None

    def stop_with_stdin(self) -> None:
        """Also stop when standard input ends, so that a silo does not outlive the process that started it."""

        def wait_for_end() -> None:
            while os.read(0, 4096):
                pass
            self.stop()

        threading.Thread(target=wait_for_end, name="end of stdin", daemon=True).start()

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop = None
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a child that application code forked: it must end as if it had no handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if self._loop is None:
            raise SystemExit(ExitCode.CLEAN)
        if self._first is not None and time.monotonic() - self._first >= SAME_SIGNAL:
            self._at_once()
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"asked twice to stop: ending at once\n")
            os._exit(128 + number)
        self.stop(by_person=number == signal.SIGINT)


def run(silo: Silo, overrides: Mapping[str, Any], signals: StopSignals, announce: Callable[[Silo], None]) -> None:
    """Start the silo, call `announce` once it is active, and serve until a stop is asked for.

    Returns after a clean stop. Raises what `Silo.start` raises, DeclaredDead when the cluster declared this silo dead,
    and SelfFenced when the silo was cut off for too long; `exit_code` gives the exit code for each.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(silo, overrides, signals, announce))


async def _serve(
    silo: Silo, overrides: Mapping[str, Any], signals: StopSignals, announce: Callable[[Silo], None]
) -> None:
    config = silo.definition(**overrides).config
    # This process has no other work than the silo, and a supervisor or a person looks after it.
    defaults = {"exit_on_dead_loop": True, "keep_logs": True, "http": HTTP_PORT}
    overrides = {
        **{name: value for name, value in defaults.items() if name not in config.model_fields_set},
        **overrides,
    }
    stop = signals.attach(config.drain_timeout + DRAIN_MARGIN)
    if not await _start(silo, overrides, stop):
        return
    announce(silo)
    dead = await run_until(silo, stop)
    signals.limit_stop()
    if dead is None:
        await silo.stop()
        _limit_exit(ExitCode.CLEAN)
    else:
        await silo.kill()  # other silos run its grains by now, so there is nothing to hand over
        _limit_exit(exit_code(dead))
        raise dead


async def _start(silo: Silo, overrides: Mapping[str, Any], stop: asyncio.Event) -> bool:
    """Start the silo. False if `stop` was set meanwhile; the parts that had started are then stopped."""
    starting = asyncio.create_task(silo.start(**overrides))
    asked = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
        if starting.cancelled():
            return False
        await starting
        return True
    finally:
        asked.cancel()
        await asyncio.wait((asked,))


def _limit_exit(code: ExitCode) -> None:
    """Bound the time from here to the exit: Python waits for tasks and threads that ignore their cancellation."""
    tasks = len(asyncio.all_tasks()) - 1
    seconds = TASKS_GRACE if tasks else EXIT_GRACE
    left = f"{counted(tasks, 'task')} and {counted(threading.active_count() - 1, 'thread')}"
    kill_after(seconds, code, f"{left} are left behind")


def kill_after(seconds: float, code: int, reason: str) -> None:
    """Kill this process, with exit code `code`, if it still runs after `seconds`. This cannot be undone.

    A thread waits, because the event loop may be blocked, and because Python waits for other threads at exit.
    """
    timer = threading.Timer(seconds, _kill, (seconds, code, reason))
    timer.daemon = True
    timer.name = "kill the process"
    timer.start()


def _kill(seconds: float, code: int, reason: str) -> None:
    try:
        log.error(
            "the process is ended by force with code %d, because it did not end within %g s: %s", code, seconds, reason,
            extra={"event": "ended_by_force"},
        )  # fmt: skip
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(code)
