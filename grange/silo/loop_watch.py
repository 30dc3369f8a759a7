"""A thread that logs the stack of the event loop while a turn blocks it."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback

from grange.membership.detection.liveness import Liveness
from grange.printable import TextBlock
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.silo")

POLL_INTERVAL = 0.25
"""Seconds between two checks of the loop's lag."""

BLOCKED = 1.0
"""Seconds of lag at which the loop counts as blocked; the limit of a long turn in Orleans."""

WARN_INTERVAL = 10.0
"""Least seconds between two warnings."""


class LoopWatch:
    """The watching thread. Make it in the event loop's thread. It uses real time, so tests in virtual time omit it."""

    def __init__(self, me: SiloAddress, liveness: Liveness) -> None:
        self._me = me
        self._liveness = liveness
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grange-loop-watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and wait for it; takes at most one check."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        warned = now = time.monotonic() - WARN_INTERVAL
        while not self._ended.wait(POLL_INTERVAL):
            before, now = now, time.monotonic()
            # If this thread was late itself, the whole process was stopped, and no turn caused the lag.
            on_time = now - before < 2 * POLL_INTERVAL
            if self._liveness.lag() >= BLOCKED and on_time and now - warned >= WARN_INTERVAL:
                warned = now
                self._log_blocked(self._liveness.lag())

    def _log_blocked(self, lag: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # pyright: ignore[reportPrivateUsage]
        stack = (
            "".join(traceback.format_stack(frame)) if frame is not None else "the stack of the loop is not available\n"
        )
        log.warning(
            "the event loop of silo %s has been blocked for %.1f s by code that does not yield to it:\n%s",
            self._me, lag, TextBlock(stack), extra={"event": "loop_blocked"},
        )  # fmt: skip
