"""The clock of a loop, to measure with: exact also on a loop whose own time stands still for an iteration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """The running loop's clock. That of asyncio is `time.monotonic`. uvloop caches its time for an iteration."""
    loop = asyncio.get_running_loop()
    is_uvloop = type(loop).__module__.startswith("uvloop")
    is_asyncio = getattr(loop.time, "__func__", None) is asyncio.BaseEventLoop.time
    return time.monotonic if is_uvloop or is_asyncio else loop.time
