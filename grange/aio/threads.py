"""Waits for threads, but not in a thread of the loop's executor: all of those may be busy with code of grains."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


async def blocks(wait: Callable[[], object]) -> None:
    """Call `wait`, which blocks and must not raise, in a thread of its own, while the loop runs on."""
    loop, waited = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        wait()
        with suppress(RuntimeError):  # the loop is closed: this wait was cancelled
            loop.call_soon_threadsafe(waited.set)

    threading.Thread(target=run, name="grange waits", daemon=True).start()
    await waited.wait()


async def has_ended(thread: threading.Thread, seconds: float) -> bool:
    """Wait until the thread has ended, at most so many seconds of real time."""
    await blocks(lambda: thread.join(seconds))
    return not thread.is_alive()
