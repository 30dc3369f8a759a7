"""The wait for a thread goes on while all threads of the executor are busy."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from grange.aio.threads import has_ended


async def test_it_waits_although_the_executor_is_full() -> None:
    loop, end = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    busy = asyncio.ensure_future(asyncio.to_thread(end.wait))
    try:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        async with asyncio.timeout(30):
            assert await has_ended(thread, 30)
    finally:
        end.set()
        await busy


async def test_it_tells_that_the_thread_has_not_ended() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    assert not await has_ended(thread, 0.01)
    end.set()
    assert await has_ended(thread, 30)
