"""Completes a short operation of a library that must not be cancelled half-way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end. A cancellation that comes meanwhile is raised after it, and its result is dropped."""
    task = asyncio.ensure_future(operation)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the cancellation is what the caller learns
        raise
