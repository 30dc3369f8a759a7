"""A thread that looks on while a turn blocks the event loop, and says what the loop is doing."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback

from grange.membership.detection.liveness import Liveness
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.silo")

LOOK = 0.25
"""Seconds between two looks."""

BLOCKED = 1.0
"""Seconds that the loop is behind when it is called blocked: what Orleans calls a long turn."""

AGAIN = 10.0
"""Seconds between two warnings."""


class LoopWatch:
    """Made in the event loop's thread; runs from `start` to `close`. Only for real time: it is a thread."""

    def __init__(self, me: SiloAddress, liveness: Liveness) -> None:
        self._me = me
        self._liveness = liveness
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grange-loop-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; it takes no time."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        said = looked = time.monotonic() - AGAIN
        while not self._ended.wait(LOOK):
            before, looked = looked, time.monotonic()
            # Who was late itself was stopped with the whole process: no turn is to blame.
            if self._liveness.lag() >= BLOCKED and looked - before < 2 * LOOK and looked - said >= AGAIN:
                said = looked
                self._say(self._liveness.lag())

    def _say(self, lag: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # pyright: ignore[reportPrivateUsage]
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "it cannot be seen where\n"
        log.warning(
            "the event loop of silo %s has been blocked for %.1f s by code that does not give way:\n%s",
            self._me, lag, stack.rstrip(), extra={"event": "loop_blocked"},
        )  # fmt: skip
