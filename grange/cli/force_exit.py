"""Ends a process that was asked to stop and does not: code of grains may refuse to end, and nothing can force it.

A thread of its own waits, because the event loop may be blocked, and because Python itself waits for threads at exit.
"""

from __future__ import annotations

import logging
import os
import sys
import threading

log = logging.getLogger("grange.silo")

DRAIN_MARGIN = 60.0
"""Seconds beyond the drain time-out in which a stop ends in the worst case: leaving 10, cancelled turns and their last
ends 15, handing over 5, goodbyes 2, writing one's death 5, tasks 5, and a margin for a busy machine."""

EXIT_GRACE = 10.0
"""Seconds from the end of the silo to the end of the process. Threads that do not end by then are code of grains."""

TASKS_GRACE = 3.0
"""The same when tasks are left that were cancelled and do not end: waiting longer brings nothing."""


def end_within(seconds: float, code: int, why: str) -> None:
    """This process ends with this code after so many seconds, if it has not ended by then. There is no way back."""
    timer = threading.Timer(seconds, _end, (seconds, code, why))
    timer.daemon = True
    timer.name = "end of the process"
    timer.start()


def _end(seconds: float, code: int, why: str) -> None:
    try:
        log.error(
            "the process is ended by force with code %d, because it did not end within %g s: %s", code, seconds, why,
            extra={"event": "ended_by_force"},
        )  # fmt: skip
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(code)
