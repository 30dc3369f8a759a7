"""The unit of work on the states of one activation, without a silo."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import StorageError
from grange.grains.work import Answer
from grange.storage.sets import ReminderChange, ReminderRow, slot_of
from grange.storage.states.form import Surplus, Written
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.storage.states.work import StateWork
from grange.testing.contracts.storage_samples import ANN, Flight, JsonForm
from tests.cluster.faulty_sets import FaultySets

ROW = ReminderRow(ANN, "r", slot_of(ANN), 1, b"{}", "e1")
SET = ReminderChange(ANN, "r", None, ROW)


class Bench:
    def __init__(self, number: int = 2) -> None:
        self.storage = FaultySets()
        self.store = StateStore(self.storage)
        self.states = [self._state(name) for name in "ab"[:number]]

    def _state(self, name: str) -> PersistentState[Flight]:
        return PersistentState(self.store, ANN, name, JsonForm[Flight](Flight), Flight)

    async def begin(self) -> StateWork:
        for state in self.states:
            if not state.operations.busy and state.etag is None:
                await state.load()
        return await StateWork.begin(self.states)


async def test_only_what_changed_is_written_and_the_rest_is_checked() -> None:
    bench = Bench()
    work = await bench.begin()
    bench.states[0].value.number = 5
    await work.commit(None)
    work.end()
    [changes] = bench.storage.sets
    assert ([write.state for write in changes.writes], [check.state for check in changes.checks]) == (["a"], ["b"])
    assert (bench.states[0].etag, bench.states[0].exists, bench.states[1].exists) == ("1", True, False)


async def test_a_value_that_was_changed_back_is_not_written() -> None:
    bench = Bench()
    work = await bench.begin()
    bench.states[0].value.number = 5
    bench.states[0].value.number = Flight().number
    await work.commit(None)
    assert bench.storage.sets == []


async def test_a_roll_back_restores_what_changed_and_leaves_the_other_objects() -> None:
    bench = Bench()
    work = await bench.begin()
    kept = bench.states[1].value
    bench.states[0].value = Flight(number=7)
    work.roll_back()
    work.end()
    assert bench.states[0].value == Flight()
    assert bench.states[1].value is kept


class Hostile(JsonForm[Flight]):
    """A form over the author's code, which fails for one value."""

    def write(self, value: Flight, surplus: Surplus | None) -> Written:
        """See `StateForm.write`."""
        if value.number == 13:
            raise LookupError("no such flight")
        return super().write(value, surplus)


async def test_a_value_whose_code_fails_at_the_commit_is_rolled_back() -> None:
    """No later turn may see what was never stored."""
    bench = Bench(1)
    state = bench.states[0] = PersistentState(bench.store, ANN, "a", Hostile(Flight), Flight)
    work = await bench.begin()
    state.value.number = 13
    with pytest.raises(LookupError, match="no such flight"):
        await work.commit(None)
    work.end()
    assert (state.value, bench.storage.sets) == (Flight(), [])


async def test_states_take_no_single_operation_until_the_end() -> None:
    bench = Bench(1)
    work = await bench.begin()
    with pytest.raises(RuntimeError, match=r"remove write\(\)"):
        await bench.states[0].write()
    work.end()
    await bench.states[0].write()


async def test_it_begins_after_the_operations_under_way() -> None:
    bench = Bench(1)
    state = bench.states[0]
    await state.load()
    bench.storage.gate = asyncio.Event()
    writing = asyncio.ensure_future(state.write())
    await bench.storage.waits.wait()
    beginning = asyncio.ensure_future(StateWork.begin(bench.states))
    await asyncio.sleep(0)
    assert not beginning.done()
    bench.storage.gate.set()
    await beginning
    assert writing.done()


@pytest.mark.parametrize("what", ["a state", "an answer", "a reminder"])
async def test_an_abandoned_activation_stores_nothing(what: str) -> None:
    """Its turn may end after a newer activation has begun: not even an answer or a reminder is stored then."""
    bench = Bench(1)
    work = await bench.begin()
    if what == "a state":
        bench.states[0].value.number = 5
    elif what == "a reminder":
        work.add(bench.store.sets, SET, lambda _: None)
    bench.states[0].give_up("the turn took too long")
    with pytest.raises(StorageError, match="given up: the turn took too long"):
        await work.commit(Answer("id", b"1", 60.0) if what == "an answer" else None)
    assert bench.storage.sets == []


async def test_of_two_changes_of_one_reminder_the_last_counts_over_the_stored_row() -> None:
    bench = Bench(1)
    work = await bench.begin()
    told: list[bool] = []
    work.add(bench.store.sets, ReminderChange(ANN, "r", "e0", ROW), told.append)
    work.add(bench.store.sets, ReminderChange(ANN, "r", "e1", None), told.append)
    assert work.added == [ReminderChange(ANN, "r", "e0", None)]
    work.roll_back()
    assert told == []


async def test_a_reminder_is_told_once_it_is_stored() -> None:
    bench = Bench(1)
    work = await bench.begin()
    told: list[bool] = []
    work.add(bench.store.sets, SET, told.append)
    await work.commit(None)
    assert told == [True]
    assert await bench.storage.reminders_of(ANN) == [ROW]
