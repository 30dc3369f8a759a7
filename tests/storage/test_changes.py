"""The contents of a batch, and the outcome of each of its sets."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import pytest

from grange.errors import StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.sets import ChangeSet, Check, Committed, Received, ReminderChange, Stamp, Write
from grange.storage.stores.changes import ChangeQueue, QueuedSet, Sending, next_batch

LONG = 60.0


def cart(key: object) -> GrainId:
    return GrainId("cart", str(key))


def a_write(key: object, payload: bytes | None = b"1") -> Write:
    return Write(cart(key), "state", payload, None if payload else "1")


def a_change(key: object, payload: bytes | None = b"1") -> ChangeSet:
    return ChangeSet(None, (a_write(key, payload),))


def queued(*sets: ChangeSet) -> deque[QueuedSet]:
    return deque(map(QueuedSet, sets))


def keys_of(batch: Sequence[QueuedSet]) -> list[str]:
    return [queued.changes.writes[0].grain_id.key for queued in batch]


class Database:
    """Stores every batch it gets, one at a time, on demand."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.answer: Mapping[str, str] | Exception | None = None
        self.gate = asyncio.Event()

    async def store(self, batch: Sequence[QueuedSet]) -> Mapping[QueuedSet, Committed]:
        self.batches.append(keys_of(Sending().begin(batch)))
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        answer = {key: "1" for key in keys_of(batch)} if self.answer is None else self.answer
        return {queued: Committed((answer[key],)) for queued in batch if (key := keys_of([queued])[0]) in answer}


async def test_a_batch_holds_each_record_once_and_keeps_the_order() -> None:
    waiting = queued(*map(a_change, ("a", "b", "a", "c", "b", "a")))
    assert keys_of(next_batch(waiting)) == ["a", "b", "c"]
    assert keys_of(next_batch(waiting)) == ["a", "b"]
    assert keys_of(next_batch(waiting)) == ["a"]
    assert next_batch(waiting) == []


async def test_a_batch_is_bounded_in_number_and_bytes() -> None:
    waiting = queued(*map(a_change, range(1200)))
    assert [len(next_batch(waiting)) for _ in range(3)] == [500, 500, 200]
    waiting = queued(*(a_change(number, b"x" * 3_000_000) for number in range(3)))
    assert [len(next_batch(waiting)) for _ in range(2)] == [2, 1]


async def test_several_lanes_share_the_waiting_changes() -> None:
    waiting = queued(*map(a_change, range(10)))
    assert [len(next_batch(waiting, lanes=4)) for _ in range(4)] == [3, 2, 2, 1]


async def test_changes_gather_while_one_is_stored() -> None:
    database = Database()
    queue = ChangeQueue(database.store, lanes=1, timeout=LONG)
    first = asyncio.ensure_future(queue.submit(a_change("first")))
    while not database.batches:
        await asyncio.sleep(0)
    others = [asyncio.ensure_future(queue.submit(a_change(number))) for number in range(3)]
    await asyncio.sleep(0)
    database.gate.set()
    assert await asyncio.gather(first, *others) == [Committed(("1",))] * 4
    assert database.batches == [["first"], ["0", "1", "2"]]


async def test_a_change_missing_in_the_answer_named_the_wrong_etag() -> None:
    database = Database()
    database.gate.set()
    database.answer = {"a": "7"}
    queue = ChangeQueue(database.store, lanes=1, timeout=LONG)
    assert await asyncio.gather(queue.submit(a_change("a")), queue.submit(a_change("b"))) == [Committed(("7",)), None]


async def test_an_error_names_the_first_item_of_a_set() -> None:
    grain = cart("ann")
    sets = {
        "write of state 'state' of cart/a (a set of 2 items)": ChangeSet(None, (a_write("a"), a_write("b"))),
        "answer '7' of cart/ann": ChangeSet(None, received=(Received(grain, "7", b"1", 1.0),)),
        "reminder 'wake' of cart/ann": ChangeSet(None, reminders=(ReminderChange(grain, "wake", "1", None),)),
        "check of state 'state' of cart/ann": ChangeSet(None, checks=(Check(grain, "state", None),)),
        "an empty change set": ChangeSet(None),
    }
    assert [str(QueuedSet(changes)) for changes in sets.values()] == list(sets)


async def test_an_error_names_each_record() -> None:
    database = Database()
    database.gate.set()
    database.answer = StorageUnavailable("down")
    queue = ChangeQueue(database.store, lanes=1, timeout=LONG)
    outcomes = await asyncio.gather(
        queue.submit(a_change("a")), queue.submit(a_change("b", None)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [StorageUnavailable] * 2
    assert [str(outcome) for outcome in outcomes] == [
        "write of state 'state' of cart/a: down",
        "clear of state 'state' of cart/b: down",
    ]


async def test_a_change_whose_caller_gave_up_in_time_is_not_stored() -> None:
    """Cancelled, and timed out: certainly not executed."""
    database = Database()
    queue = ChangeQueue(database.store, lanes=1, timeout=LONG)
    running = asyncio.ensure_future(queue.submit(a_change("running")))
    while not database.batches:
        await asyncio.sleep(0)
    cancelled = asyncio.ensure_future(queue.submit(a_change("cancelled")))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    database.gate.set()
    await running
    await queue.flush()
    assert database.batches == [["running"]]


async def test_a_change_does_not_wait_for_ever() -> None:
    queue = ChangeQueue(Database().store, lanes=1, timeout=0.001)
    with pytest.raises(WriteOutcomeUnknown, match=r"cart/a: the database did not answer within 0\.001 s"):
        await queue.submit(a_change("a"))
    (worker,) = asyncio.all_tasks() - {asyncio.current_task()}
    worker.cancel()
    await queue.flush()


async def test_a_change_that_never_left_is_certainly_not_stored() -> None:
    """It waits behind another one when its time is over. The error says so, and the change is not stored later."""
    database = Database()
    queue = ChangeQueue(database.store, lanes=1, timeout=0.01)
    running = asyncio.ensure_future(queue.submit(a_change("running")))
    while not database.batches:
        await asyncio.sleep(0)
    with pytest.raises(StorageUnavailable, match="cart/waiting"):
        await queue.submit(a_change("waiting"))
    with pytest.raises(WriteOutcomeUnknown):
        await running
    database.gate.set()
    await queue.flush()
    assert database.batches == [["running"]]


async def test_sets_of_different_writers_share_a_batch() -> None:
    stamps = [Stamp(SiloAddress("a", port, 1), 1) for port in (1, 2, 1)]
    waiting = queued(*(ChangeSet(stamp, (a_write(key),)) for key, stamp in enumerate(stamps)))
    assert keys_of(next_batch(waiting)) == ["0", "1", "2"]


async def test_a_batch_holds_each_answer_and_reminder_once() -> None:
    """Also each record that a set only checks. An answer and a reminder of one name are different things."""
    answer = ChangeSet(None, received=(Received(cart("ann"), "state", b"1", 1.0),))
    reminder = ChangeSet(None, reminders=(ReminderChange(cart("ann"), "state", "1", None),))
    check = ChangeSet(None, checks=(Check(cart("ann"), "state", None),))
    waiting = queued(answer, reminder, check, check, reminder, answer, a_change("ann"))
    assert [len(next_batch(waiting)) for _ in range(4)] == [3, 3, 1, 0]


async def test_the_sets_of_one_record_keep_their_order() -> None:
    """The second set waits for the first; the third, which shares a record with the second only, waits too."""
    pairs = [("a", "b"), ("b", "c"), ("c", "d")]
    waiting = queued(*(ChangeSet(None, tuple(map(a_write, pair))) for pair in pairs))
    assert [keys_of(next_batch(waiting)) for _ in pairs] == [["a"], ["b"], ["c"]]


async def test_no_caller_waits_for_ever_when_the_queue_is_cancelled() -> None:
    """A loop that shuts down cancels every task."""
    database = Database()
    queue = ChangeQueue(database.store, lanes=1, timeout=LONG)
    tasks = [asyncio.ensure_future(queue.submit(a_change(key))) for key in "ab"]
    while not database.batches:
        await asyncio.sleep(0)
    tasks.append(asyncio.ensure_future(queue.submit(a_change("c"))))
    await asyncio.sleep(0)
    (worker,) = (task for task in asyncio.all_tasks() if task.get_name() == "grange-storage-changes")
    worker.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_defect_of_the_driver_leaves_the_outcome_unknown() -> None:
    """It cancels no caller, and the changes that wait behind go on."""
    database = Database()
    queue = ChangeQueue(database.store, lanes=1, timeout=LONG)
    database.answer = AttributeError("'NoneType' object has no attribute 'write'")
    changes = [asyncio.create_task(queue.submit(a_change(key))) for key in "ab"]
    await asyncio.sleep(0)
    database.gate.set()
    for outcome in await asyncio.gather(*changes, return_exceptions=True):
        assert isinstance(outcome, WriteOutcomeUnknown)
        assert "AttributeError" in str(outcome)
    database.answer = None
    assert await queue.submit(a_change("c")) == Committed(("1",))
