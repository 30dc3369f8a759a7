"""The error of a silo that was declared dead for a write whose answer it lost."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import WriteOutcomeUnknown
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.testing.contracts.storage_samples import ANN, Flight, JsonForm
from tests.storage.guard_bench import ME, a_bench


async def test_a_fence_after_a_write_that_was_applied_and_overwritten_leaves_it_unknown() -> None:
    """It was stored, and a later writer has changed the record since: to say that it was not would be wrong."""
    async with a_bench() as bench:
        state = bench.state()
        await state.load()
        await state.write()
        bench.store.lost = 1
        writing = asyncio.ensure_future(state.write())
        await asyncio.sleep(0.01)
        await bench.store.inner.fence([ME])
        bench.store.inner.seed(state._grain_id, "state", b"{}")
        with pytest.raises(WriteOutcomeUnknown, match="another writer has changed"):
            await writing


async def test_a_clear_after_a_first_write_that_may_still_arrive_fails() -> None:
    """The store has no record yet, so the clear would succeed; then the write would arrive and stay."""
    async with a_bench() as bench:
        store = StateStore(bench.store, bench.guards.stamps.next)
        state = PersistentState(store, ANN, "state", JsonForm[Flight](Flight), Flight)
        await state.load()
        bench.store.fail_before = WriteOutcomeUnknown("on its way")
        with pytest.raises(WriteOutcomeUnknown):
            await state.write()
        with pytest.raises(WriteOutcomeUnknown, match="still in doubt"):
            await state.clear()
