"""Several operations on one state at once: their order, which are joined, and the effect of a cancelled caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from grange.errors import InconsistentStateError, StorageUnavailable
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.testing.contracts.storage_samples import ANN, Flight, JsonForm
from tests.storage.faults import FaultyStorage


@pytest.fixture
def storage() -> FaultyStorage:
    return FaultyStorage()


@pytest.fixture
async def state(storage: FaultyStorage) -> PersistentState[Flight]:
    """A loaded state; no operation is counted yet."""
    state = PersistentState(StateStore(storage), ANN, "state", JsonForm[Flight](Flight), Flight)
    await state.load()
    storage.calls.clear()
    return state


async def started(operation: Awaitable[None]) -> asyncio.Task[None]:
    """Start the operation as a task and let it request."""
    task = asyncio.ensure_future(operation)
    await asyncio.sleep(0)
    return task


async def test_writes_that_wait_become_one(storage: FaultyStorage, state: PersistentState[Flight]) -> None:
    """The value is taken when the storage call starts, so the joined write stores the latest one."""
    gate = storage.hold()
    tasks = []
    for number in range(1, 6):
        state.value.number = number
        tasks.append(await started(state.write()))
        await storage.started.wait()
    state.value.number = 99
    gate.set()
    await asyncio.gather(*tasks)
    assert storage.calls == ["write", "write"]
    assert state.etag == "2"
    await state.read()
    assert state.value.number == 99


async def test_a_read_behind_a_write_that_succeeds_reads_nothing(
    storage: FaultyStorage, state: PersistentState[Flight]
) -> None:
    """PST-13."""
    gate = storage.hold()
    writing = await started(state.write())
    reading = await started(state.read())
    state.value.number = 5
    assert not reading.done()
    gate.set()
    await asyncio.gather(writing, reading)
    assert storage.calls == ["write"]
    assert state.value.number == 5


async def test_a_read_behind_a_clear_that_succeeds_reads_nothing(
    storage: FaultyStorage, state: PersistentState[Flight]
) -> None:
    """PST-13, for a clear that has not started either."""
    gate = storage.hold()
    tasks = [await started(operation()) for operation in (state.write, state.clear, state.read)]
    gate.set()
    await asyncio.gather(*tasks)
    assert storage.calls == ["write", "clear"]
    assert (state.exists, state.etag) == (False, "2")


async def test_a_read_behind_a_write_that_fails_is_performed(
    storage: FaultyStorage, state: PersistentState[Flight]
) -> None:
    """PST-13: the state takes the etag that was read."""
    etag = storage.inner.seed(ANN, "state", b'{"number": 7}')
    gate = storage.hold()
    writing = await started(state.write())
    reading = await started(state.read())
    gate.set()
    with pytest.raises(InconsistentStateError):
        await writing
    await reading
    assert storage.calls == ["write", "read"]
    assert (state.value.number, state.etag) == (7, etag)


async def test_a_failure_reaches_all_joined_callers(storage: FaultyStorage, state: PersistentState[Flight]) -> None:
    gate = storage.hold()
    first = await started(state.write())
    joined = [await started(state.write()) for _ in range(3)]
    storage.inner.seed(ANN, "state", b"{}")
    gate.set()
    outcomes = await asyncio.gather(first, *joined, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [InconsistentStateError] * 4
    assert storage.calls == ["write", "write"]


async def test_different_operations_keep_their_order(storage: FaultyStorage, state: PersistentState[Flight]) -> None:
    gate = storage.hold()
    verbs = (state.read, state.clear, state.write, state.clear, state.clear)
    tasks = [await started(verb()) for verb in verbs]
    gate.set()
    await asyncio.gather(*tasks)
    assert storage.calls == ["read", "clear", "write", "clear"]
    assert not state.exists


async def test_a_cancelled_caller_leaves_its_write_running(
    storage: FaultyStorage, state: PersistentState[Flight]
) -> None:
    """The outcome is not lost: the etag is up to date, so the next write fits."""
    gate = storage.hold()
    state.value.number = 1
    writing = await started(state.write())
    await storage.started.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    gate.set()
    await state.write()
    assert (storage.calls, state.etag) == (["write", "write"], "2")


async def test_a_cancelled_caller_leaves_the_others_their_outcome(
    storage: FaultyStorage, state: PersistentState[Flight]
) -> None:
    gate = storage.hold()
    running = await started(state.write())
    one, two = await started(state.write()), await started(state.write())
    one.cancel()
    gate.set()
    await asyncio.gather(running, two)
    assert one.cancelled()
    assert storage.calls == ["write", "write"]


async def test_an_operation_without_a_waiting_caller_is_not_started(
    storage: FaultyStorage, state: PersistentState[Flight]
) -> None:
    gate = storage.hold()
    running = await started(state.write())
    waiting, reading = await started(state.clear()), await started(state.read())
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.set()
    await asyncio.gather(running, reading)
    assert storage.calls == ["write", "read"]
    assert state.exists


async def test_close_waits_for_running_operations_and_refuses_new_ones(
    storage: FaultyStorage, state: PersistentState[Flight]
) -> None:
    gate = storage.hold()
    writing = await started(state.write())
    closing = await started(state.close())
    with pytest.raises(RuntimeError, match="activation has ended"):
        await state.write()
    assert not closing.done()
    gate.set()
    await closing
    assert writing.done()
    assert state.etag == "1"
    await state.close()


async def test_a_failure_does_not_stop_the_operations_behind_it(
    storage: FaultyStorage, state: PersistentState[Flight]
) -> None:
    gate = storage.hold()
    storage.fail_before = StorageUnavailable("down")
    failing = await started(state.write())
    await storage.started.wait()
    behind = await started(state.write())
    gate.set()
    with pytest.raises(StorageUnavailable):
        await failing
    await behind
    assert state.etag == "1"


async def test_no_caller_waits_for_ever_when_the_queue_is_cancelled(
    storage: FaultyStorage, state: PersistentState[Flight]
) -> None:
    """A loop that shuts down cancels every task."""
    storage.hold()
    tasks = [await started(operation()) for operation in (state.write, state.clear)]
    await storage.started.wait()
    (worker,) = (task for task in asyncio.all_tasks() if task.get_name() == "grange-state-operations")
    worker.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
