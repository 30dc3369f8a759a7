"""What a silo that was declared dead says of a write whose answer it lost."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import WriteOutcomeUnknown
from tests.storage.guard_bench import ME, a_bench


async def test_a_fence_over_a_write_that_was_applied_and_written_over_leaves_it_unknown() -> None:
    """It was stored, and its successor has changed the record since: to say that it was not would be wrong."""
    async with a_bench() as bench:
        state = bench.state()
        await state.load()
        await state.write()
        bench.store.lost = 1
        writing = asyncio.ensure_future(state.write())
        await asyncio.sleep(0.01)
        await bench.store.inner.fence([ME])
        bench.store.inner.seed(state._grain_id, "state", b"{}")
        with pytest.raises(WriteOutcomeUnknown, match="changed by somebody else"):
            await writing
