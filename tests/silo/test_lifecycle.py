"""`Lifecycle`: the stop that an operator asks for, and a stop that joins it."""

from __future__ import annotations

import asyncio

import pytest

from grange.proto.ids import SiloAddress
from grange.silo.lifecycle import Lifecycle

ADDRESS = SiloAddress("127.0.0.1", 1, 1)


async def test_a_stop_raises_the_error_of_the_stop_that_was_asked_for() -> None:
    """`grange run` ends with this error. Otherwise a failed drain would look like a success."""
    lifecycle = Lifecycle()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("a part failed")

    async with lifecycle.starting() as parts:
        parts.push_async_callback(fail)
    lifecycle.ask_to_stop(ADDRESS)
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="a part failed"):
        await lifecycle.stop()
