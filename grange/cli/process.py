"""A silo as an operating-system process: event loop, signals and exit codes. `grange run` calls `run`.

SIGTERM and SIGINT drain the silo; another one, half a second later or more, ends the process at once.
"""

from __future__ import annotations

import asyncio
import enum
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any, Self

from grange.cli.force_exit import DRAIN_MARGIN, EXIT_GRACE, TASKS_GRACE, end_within
from grange.errors import (
    ConfigurationError,
    DeclaredDead,
    GrangeError,
    JoinFailed,
    MembershipError,
    SelfFenced,
    StorageError,
)
from grange.silo.silo import Silo, run_until

try:
    from uvloop import new_event_loop
except ImportError:  # uvloop is not made for Windows
    from asyncio import new_event_loop  # type: ignore[assignment]


SAME_SIGNAL = 0.5
"""Seconds in which signals count as one: `timeout`, `make` and terminals signal a process and its group at once."""


class ExitCode(enum.IntEnum):
    """How a process of ours ends, for supervisors and scripts; docs/operations.md lists them."""

    CLEAN = 0
    FAILED = 1
    USAGE = 2
    NOT_JOINED = 3
    DECLARED_DEAD = 4
    FENCED = 5
    STORE_UNUSABLE = 6
    BUG = 70


def exit_code(error: Exception) -> ExitCode:
    """The code with which an error that nobody handled ends the process."""
    causes: tuple[tuple[type[Exception], ExitCode], ...] = (
        (ConfigurationError, ExitCode.USAGE),
        (JoinFailed, ExitCode.NOT_JOINED),
        (DeclaredDead, ExitCode.DECLARED_DEAD),
        (SelfFenced, ExitCode.FENCED),
        (MembershipError, ExitCode.STORE_UNUSABLE),
        (StorageError, ExitCode.STORE_UNUSABLE),
        (GrangeError, ExitCode.FAILED),
    )
    return next((code for kind, code in causes if isinstance(error, kind)), ExitCode.BUG)


class StopSignals:
    """SIGTERM and SIGINT inside a `with`: the first asks to stop, the second ends the process at once.

    Entered before anything slow happens, because a process that is PID 1 of a container ignores SIGTERM until it has
    a handler. Before `attach` there is nothing to drain, so the first signal ends the process with code 0.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()
        self._first: float | None = None
        self._adaptive_timeout: float | None = None
        self._previous: dict[int, Any] = {}

    def attach(self, patience: float | None = None) -> asyncio.Event:
        """From now on a signal sets the returned event, in the running loop.

        `patience` seconds after it, or after `bound`, the process ends by force: a turn that blocks the loop would
        never let it stop.
        """
        self._loop = asyncio.get_running_loop()
        self._adaptive_timeout = patience
        if self._first is not None:
            self._asked.set()
        return self._asked

    def stop(self) -> None:
        """Ask for the stop from another thread, as a signal would; asking again changes nothing."""
        if self._first is None:
            self._first = time.monotonic()  # not the loop's time, which stands still while a turn blocks the loop
            self.bound()
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._asked.set)

    def bound(self) -> None:
        """The stop begins: from now on the process has its `patience`, also when no signal asked for the stop."""
        if self._adaptive_timeout is not None:
            end_within(self._adaptive_timeout, ExitCode.BUG, "the silo did not stop; a turn may block its event loop")
            self._adaptive_timeout = None

    def stop_with_stdin(self) -> None:
        """Also stop when standard input ends: a silo that somebody else started does not outlive them."""

        def wait_for_end() -> None:
            while os.read(0, 4096):
                pass
            self.stop()

        threading.Thread(target=wait_for_end, name="end of stdin", daemon=True).start()

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop = None
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        if self._loop is None:
            raise SystemExit(ExitCode.CLEAN)
        if self._first is not None and time.monotonic() - self._first >= SAME_SIGNAL:
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"asked twice to stop: ending at once\n")
            os._exit(128 + number)
        self.stop()


def run(silo: Silo, overrides: Mapping[str, Any], signals: StopSignals, announce: Callable[[Silo], None]) -> None:
    """Start the silo, `announce` it once it is active, and serve until a signal asks to stop.

    Returns after a clean stop. Raises what `Silo.start` raises, DeclaredDead when the cluster gave this silo up, and
    SelfFenced when it was cut off for too long;
    `exit_code` says how the process should end then.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(silo, overrides, signals, announce))


async def _serve(
    silo: Silo, overrides: Mapping[str, Any], signals: StopSignals, announce: Callable[[Silo], None]
) -> None:
    stop = signals.attach(silo.definition(**overrides).config.drain_timeout + DRAIN_MARGIN)
    if not await _started(silo, overrides, stop):
        return
    announce(silo)
    dead = await run_until(silo, stop)
    signals.bound()
    if dead is None:
        await silo.stop()
        _leave_behind(ExitCode.CLEAN)
    else:
        await silo.kill()  # the others run its grains by now: there is nothing to hand over
        _leave_behind(exit_code(dead))
        raise dead


def _leave_behind(code: ExitCode) -> None:
    """What does not end although it was cancelled must not keep the process: Python would wait for it for ever."""
    tasks = len(asyncio.all_tasks()) - 1
    seconds = TASKS_GRACE if tasks else EXIT_GRACE
    end_within(seconds, code, f"{tasks} tasks and {threading.active_count() - 1} threads are left behind")


async def _started(silo: Silo, overrides: Mapping[str, Any], stop: asyncio.Event) -> bool:
    """Start the silo; False when the stop was asked for meanwhile, and what had started is stopped again."""
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
