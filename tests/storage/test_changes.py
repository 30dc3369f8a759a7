"""The contents of a batch, and the outcome of each of its changes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import pytest

from grange.errors import StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import SiloAddress
from grange.storage.sets import Stamp
from grange.storage.stores.changes import Change, ChangeQueue, Name, Sending, next_batch

LONG = 60.0


def a_change(key: object, payload: str | None = "1") -> Change:
    return Change(("cart", str(key), "state"), payload, 0, 1)


class Database:
    """Stores every batch it gets, one at a time, on demand."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.answer: Mapping[Name, int] | Exception | None = None
        self.gate = asyncio.Event()

    async def store(self, batch: Sequence[Change]) -> Mapping[Name, int]:
        self.batches.append([change.name[1] for change in Sending().begin(batch)])
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return {change.name: 1 for change in batch} if self.answer is None else self.answer


async def test_a_batch_holds_each_record_once_and_keeps_the_order() -> None:
    waiting = deque(a_change(key) for key in ("a", "b", "a", "c", "b", "a"))
    assert [change.name[1] for change in next_batch(waiting)] == ["a", "b", "c"]
    assert [change.name[1] for change in next_batch(waiting)] == ["a", "b"]
    assert [change.name[1] for change in next_batch(waiting)] == ["a"]
    assert next_batch(waiting) == []


async def test_a_batch_is_bounded_in_number_and_bytes() -> None:
    waiting = deque(a_change(number) for number in range(1200))
    assert [len(next_batch(waiting)) for _ in range(3)] == [500, 500, 200]
    waiting = deque(a_change(number, "x" * 3_000_000) for number in range(3))
    assert [len(next_batch(waiting)) for _ in range(2)] == [2, 1]


async def test_several_lanes_share_the_waiting_changes() -> None:
    waiting = deque(a_change(number) for number in range(10))
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
    assert await asyncio.gather(first, *others) == [1, 1, 1, 1]
    assert database.batches == [["first"], ["0", "1", "2"]]


async def test_a_change_missing_in_the_answer_named_the_wrong_etag() -> None:
    database = Database()
    database.gate.set()
    database.answer = {("cart", "a", "state"): 7}
    queue = ChangeQueue(database.store, lanes=1, timeout=LONG)
    assert await asyncio.gather(queue.submit(a_change("a")), queue.submit(a_change("b"))) == [7, None]


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


async def test_changes_of_different_writers_do_not_share_a_batch() -> None:
    """One statement checks one writer."""
    one, two = (Stamp(SiloAddress("a", port, 1), 1) for port in (1, 2))
    waiting = deque(Change(("cart", str(key), "state"), "1", 0, 1, stamp) for key, stamp in enumerate((one, two, one)))
    assert [change.name[1] for change in next_batch(waiting)] == ["0", "2"]
    assert [change.name[1] for change in next_batch(waiting)] == ["1"]


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
    assert await queue.submit(a_change("c")) == 1
