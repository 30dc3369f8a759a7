"""The guard leads change sets, claims and looks, of stores that have them, through breaker, time limit, repetition."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from grange.errors import InconsistentStateError, StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.observability.events import Events
from grange.storage.guards.stores import GuardDeps, StorageGuards
from grange.storage.memory import MemoryStorage
from grange.storage.provider import ClaimStorage, Query, QueryStorage, ReminderStorage, SetStorage, offered
from grange.storage.sets import ChangeSet, Committed, Received, ReminderChange, ReminderRow, Stamp, Write, slot_of
from grange.testing.contracts.storage_samples import ANN
from grange.testing.loop import VirtualTime
from tests.cluster.faulty_sets import FaultySets
from tests.cluster.plain_storage import PlainStorage
from tests.storage.guard_bench import ME, TIMEOUT

EVERYTHING = (SetStorage, ClaimStorage, QueryStorage, ReminderStorage)


class Guarded:
    def __init__(self) -> None:
        self.store = FaultySets()
        self.guards = StorageGuards({"default": self.store}, GuardDeps(ME, random.Random(1), TIMEOUT, Events()))
        self.storage = self.guards.storages["default"]
        self.sets = offered(self.storage, SetStorage)
        assert self.sets is not None

    def two_writes(self, number: int = 1) -> ChangeSet:
        writes = tuple(Write(ANN, state, b"1", None) for state in ("a", "b"))
        return ChangeSet(Stamp(ME, number), writes)


@pytest.fixture
async def guarded() -> AsyncIterator[Guarded]:
    with VirtualTime(asyncio.get_running_loop()).installed():
        made = Guarded()
        async with made.guards:
            yield made


async def test_a_guard_offers_what_its_store_does() -> None:
    full = StorageGuards({"default": MemoryStorage()}, GuardDeps(ME, random.Random(1), TIMEOUT, Events()))
    plain = StorageGuards({"default": PlainStorage()}, GuardDeps(ME, random.Random(1), TIMEOUT, Events()))
    assert all(offered(full.storages["default"], each) is not None for each in EVERYTHING)
    assert all(offered(plain.storages["default"], each) is None for each in EVERYTHING)


async def test_an_operation_that_the_store_lacks_names_it() -> None:
    guards = StorageGuards({"orders": PlainStorage()}, GuardDeps(ME, random.Random(1), TIMEOUT, Events()))
    storage = guards.storages["orders"]
    assert isinstance(storage, SetStorage)
    with pytest.raises(StorageError, match=r"the storage 'orders' \(PlainStorage\) is no SetStorage"):
        await storage.commit(ChangeSet(None))


async def test_a_set_whose_answer_was_lost_is_sent_again_and_applied_once(guarded: Guarded) -> None:
    guarded.store.lost = 2
    assert guarded.sets is not None
    assert await guarded.sets.commit(guarded.two_writes()) == Committed(("1", "1"))
    assert len(guarded.store.sets) == 3


async def test_a_set_without_a_stamp_is_not_sent_again(guarded: Guarded) -> None:
    guarded.store.lost = 1
    assert guarded.sets is not None
    with pytest.raises(WriteOutcomeUnknown):
        await guarded.sets.commit(ChangeSet(None, guarded.two_writes().writes))


async def test_a_fence_after_a_lost_answer_proves_that_no_part_was_applied(guarded: Guarded) -> None:
    """The records still have the etags of the set, so it was not applied, and never will be."""
    assert guarded.sets is not None
    guarded.store.before = WriteOutcomeUnknown("lost on its way")
    commit = asyncio.ensure_future(guarded.sets.commit(guarded.two_writes()))
    await asyncio.sleep(0.01)
    await guarded.store.fence([ME])
    guarded.store.before = None
    with pytest.raises(InconsistentStateError) as caught:
        await commit
    assert caught.value.fenced


async def test_a_fence_proves_nothing_about_a_set_without_writes(guarded: Guarded) -> None:
    """A row of a reminder may have been applied and changed since: no etag of a record tells."""
    assert guarded.sets is not None
    row = ReminderRow(ANN, "r", slot_of(ANN), 1, b"{}", "e1")
    guarded.store.before = WriteOutcomeUnknown("lost on its way")
    commit = asyncio.ensure_future(
        guarded.sets.commit(ChangeSet(Stamp(ME, 1), reminders=(ReminderChange(ANN, "r", None, row),)))
    )
    await asyncio.sleep(0.01)
    await guarded.store.fence([ME])
    guarded.store.before = None
    with pytest.raises(WriteOutcomeUnknown):
        await commit


async def test_while_the_store_is_away_a_set_is_refused_at_once(guarded: Guarded) -> None:
    guarded.store.before = StorageUnavailable("away")

    async def away(*_: object) -> None:
        raise StorageUnavailable("away")

    guarded.store.read = away  # type: ignore[method-assign,assignment]
    assert guarded.sets is not None
    with pytest.raises(StorageUnavailable):
        await guarded.sets.commit(guarded.two_writes())
    await asyncio.sleep(0.1)
    sent = len(guarded.store.sets)
    with pytest.raises(StorageUnavailable, match=r"commit of state 'a' of .*: not tried"):
        await guarded.sets.commit(guarded.two_writes())
    assert len(guarded.store.sets) == sent


async def test_each_kind_of_operation_has_its_figures(guarded: Guarded) -> None:
    storage = guarded.storage
    assert isinstance(storage, SetStorage)
    assert isinstance(storage, ClaimStorage)
    assert isinstance(storage, QueryStorage)
    assert isinstance(storage, ReminderStorage)
    await storage.commit(guarded.two_writes())
    await storage.commit(ChangeSet(Stamp(ME, 2), (Write(ANN, "c", b"1", None),)))
    await storage.commit(ChangeSet(Stamp(ME, 3), received=(Received(ANN, "id", b"1", 10.0),)))
    assert await storage.received(ANN, "id") == b"1"
    assert (await storage.claim(ANN, "a", 7)).claim == 7
    assert await storage.find(Query(grain_type=ANN.type, state="a", where={"owner": "ann"})) == []
    assert len(await storage.list_records(ANN.type)) == 3
    assert await storage.reminders_of(ANN) == []
    assert await storage.reminders_due([1], 0, 10) == await storage.reminders_parked([1], 10) == []
    assert await storage.now() > 0
    [figures] = guarded.guards.figures
    counts = {name: each.count for name, each in figures.snapshot().operations.items()}
    assert counts == {
        "read": 0, "write": 1, "clear": 0, "commit": 2, "answer": 1, "claim": 1, "find": 1, "list": 1, "reminders": 3,
        "time": 1,
    }  # fmt: skip
    assert figures.changes[ANN.type] == [3, 0]


async def test_a_lost_race_of_a_set_is_counted(guarded: Guarded) -> None:
    assert guarded.sets is not None
    await guarded.sets.commit(guarded.two_writes())
    with pytest.raises(InconsistentStateError):
        await guarded.sets.commit(guarded.two_writes(2))
    [figures] = guarded.guards.figures
    assert figures.snapshot().conflicts == 1
