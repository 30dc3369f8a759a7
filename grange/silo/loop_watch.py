"""A thread that watches the event loop: it logs the stack of a blocking turn, and ends a process whose loop is dead.

Time in which this thread did not run either (a stopped process, a paused machine) does not count: no turn caused it.
Nor does time in a debugger.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from grange.aio.stacks import Frames, blocked_stack, frames_of, in_debugger, line_of, text_of
from grange.membership.detection.liveness import Liveness
from grange.observability.events import Events
from grange.observability.turn_events import LoopBlocked
from grange.printable import TextBlock
from grange.runtime.activations.running_code import code_of_grain
from grange.silo.config import SiloConfig

log = logging.getLogger("grange.silo")

POLL_INTERVAL = 0.25
"""Seconds between two checks of the loop's lag."""

BLOCKED = 1.0
"""Seconds of lag at which the loop counts as blocked; the limit of a long turn in Orleans."""

WARN_INTERVAL = 10.0
"""Least seconds between two warnings."""

DEAD_LOOP_EXIT = 7
"""Exit code of a process that ended because its event loop was dead."""

LOG_TIMEOUT = 2.0
"""Seconds for writing the last lines of the log. The dead loop may hold the lock of a log handler for ever."""


class DeadTime:
    """The seconds for which the loop has not run, counted in steps in which the watching thread was awake."""

    def __init__(self) -> None:
        self._tick: float | None = None
        self.seconds = 0.0

    def add(self, tick: float | None, elapsed: float) -> None:
        """One check, `elapsed` seconds after the one before. `tick`: the last tick of the loop; None: not measured.

        A step counts at most two poll intervals, so that a stopped process does not count its stop.
        """
        if tick is None or tick != self._tick:
            self._tick, self.seconds = tick, 0.0
        else:
            self.seconds += min(elapsed, 2 * POLL_INTERVAL)


class LoopWatch:
    """The watching thread. Make it in the event loop's thread. It uses real time, so tests in virtual time omit it.

    After `dead_after` seconds with a dead loop it calls `on_dead`, once and in its own thread, with the text of the
    alarm.
    """

    def __init__(self, events: Events, liveness: Liveness, dead_after: float, on_dead: Callable[[str], None]) -> None:
        self._events = events
        self._liveness = liveness
        self._dead_after = dead_after
        self._on_dead = on_dead
        self._loop_thread = threading.get_ident()
        self._dead = DeadTime()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grange-loop-watch", daemon=True)

    @property
    def dead_seconds(self) -> float:
        """Seconds for which the loop has not run, in steps in which this thread was awake. Any thread may read it."""
        return self._dead.seconds

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and wait for it; takes at most one check."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        warned = now = time.monotonic() - WARN_INTERVAL
        dead, reported = self._dead, False
        while not self._ended.wait(POLL_INTERVAL):
            before, now = now, time.monotonic()
            dead.add(self._liveness.ticked, now - before)
            # If this thread was late itself, the whole process was stopped, and no turn caused the lag.
            on_time = now - before < 2 * POLL_INTERVAL
            if self._liveness.lag() >= BLOCKED and on_time and now - warned >= WARN_INTERVAL:
                warned = now
                self._log_blocked(self._liveness.lag())
            if dead.seconds == 0:
                reported = False
            elif dead.seconds >= self._dead_after and not reported and not in_debugger(self._loop_thread):
                reported = True
                self._on_dead(self._alarm(dead.seconds))

    def _log_blocked(self, lag: float) -> None:
        frames = frames_of(self._loop_thread)
        self._events.publish(blocked_by(frames, lag))

    def _alarm(self, seconds: float) -> str:
        return (
            f"the event loop of silo {self._events.me} has been dead for {seconds:.0f} s, so the other silos take "
            f"it for dead:\n{blocked_stack(self._loop_thread)}"
        )


def blocked_by(frames: Frames, lag: float) -> LoopBlocked:
    """The event of a loop that is late by `lag` seconds: it names the grain and the line that hold it."""
    found, line = code_of_grain(frames), line_of(frames)
    name = "code" if found is None else f"{found[0]}.{found[1]}"
    by = f"{name} ({line})" if line else name
    return LoopBlocked(lag, text_of(frames), by, "" if found is None else found[0].type, line)


def watch_of_loop(config: SiloConfig, events: Events, liveness: Liveness) -> LoopWatch:
    """The watch over the running loop, as this silo is configured. `ProbePort.serve` starts it."""
    on_dead = end_dead_process if config.exit_on_dead_loop else report_dead_loop
    return LoopWatch(events, liveness, config.membership_settings().dead_loop_after, on_dead)


def report_dead_loop(alarm: str) -> None:
    """Log the alarm and go on: the process belongs to the user's program."""
    reason, _, stack = alarm.partition("\n")
    log.error("%s\n%s", reason, TextBlock(stack), extra={"event": "loop_dead"})


def end_dead_process(alarm: str) -> None:
    """Log the alarm and end the process with `DEAD_LOOP_EXIT`, so that a supervisor starts it again."""
    text = f"{alarm}\nthe process ends with code {DEAD_LOOP_EXIT}"
    writer = threading.Thread(target=_log_and_flush, args=(text,), name="grange-last-log", daemon=True)
    try:
        writer.start()
        writer.join(LOG_TIMEOUT)
    finally:
        os._exit(DEAD_LOOP_EXIT)


def _log_and_flush(alarm: str) -> None:
    report_dead_loop(alarm)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
