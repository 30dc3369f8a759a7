"""A silo's guard of a store: reads wait for recorded deaths, outages fail at once, lost answers are resolved."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator

import pytest

from grange.errors import InconsistentStateError, StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.membership.model.member import Member, SiloStatus, make_view
from grange.observability.events import Events
from grange.storage.guards.deaths import deaths
from grange.storage.guards.stores import GuardDeps
from grange.storage.sets import Stamp
from grange.testing.contracts.storage_samples import ANN, fenced
from tests.storage.guard_bench import ME, NOW, TIMEOUT, Bench, a_bench, silo, view

DEAD, ACTIVE, LEAVING = SiloStatus.DEAD, SiloStatus.ACTIVE, SiloStatus.LEAVING


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with a_bench() as bench:
        yield bench


async def seconds_of(operation: asyncio.Future[object] | asyncio.Task[object]) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.wait([operation])
    return loop.time() - began


# --- deaths -------------------------------------------------------------------------------------------------------


def test_the_dead_and_the_superseded_are_gone() -> None:
    """The latest gone generation of each endpoint, in order; not a silo that leaves or lives, and not this silo."""
    rows = [
        (silo(1, 1), DEAD), (silo(1, 2), DEAD), (silo(1, 3), ACTIVE),
        (silo(2, 1), ACTIVE), (silo(2, 2), SiloStatus.JOINING),
        (silo(3, 1), LEAVING),
        (silo(0, 4), ACTIVE), (ME, DEAD),
    ]  # fmt: skip
    members = make_view(1, (Member(address, status, NOW, NOW) for address, status in rows))
    assert deaths(members, ME) == (silo(0, 4), silo(1, 2), silo(2, 1))


# --- the fence ----------------------------------------------------------------------------------------------------


async def test_a_death_in_a_view_is_recorded_in_the_store(bench: Bench) -> None:
    bench.guards.on_view(view(1, silo1=ACTIVE, silo2=DEAD))
    await bench.storage.read(ANN, "state")
    await fenced(bench.store.inner.write(ANN, "state", b"1", None, stamp=Stamp(silo(2), 1)))
    await bench.store.inner.write(ANN, "state", b"1", None, stamp=Stamp(silo(1), 1))


async def test_a_death_is_recorded_once(bench: Bench) -> None:
    for version in range(1, 4):
        bench.guards.on_view(view(version, silo1=DEAD))
        await bench.storage.read(ANN, "state")
    assert bench.store.calls.count("fence") == 1


async def test_state_is_not_loaded_before_the_death_is_recorded(bench: Bench) -> None:
    """Otherwise the dead silo could still change the state that was just loaded."""
    gate = bench.store.hold()
    bench.guards.on_view(view(1, silo1=DEAD))
    loading = asyncio.create_task(bench.state().load())
    await asyncio.sleep(TIMEOUT / 2)
    assert bench.store.calls == ["fence"]
    gate.set()
    await loading
    assert bench.store.calls == ["fence", "read"]


async def test_a_death_that_arrives_during_a_read_repeats_the_read(bench: Bench) -> None:
    """The dead silo may change the record between the first read and the fence."""
    gate = bench.store.hold()
    state = bench.state()
    loading = asyncio.create_task(state.load())
    await bench.store.started.wait()
    bench.guards.on_view(view(1, silo1=DEAD))
    await bench.store.inner.write(ANN, "state", b'{"number":7}', None, stamp=Stamp(silo(1), 1))
    gate.set()
    await loading
    assert bench.store.calls == ["read", "fence", "read"]
    assert state.value.number == 7


async def test_a_store_that_fails_once_delays_the_loads_hardly(bench: Bench) -> None:
    """The grains of the dead silo wait for the record of its death."""
    bench.store.fail_before = StorageUnavailable("once")
    bench.guards.on_view(view(1, silo1=DEAD))
    assert await seconds_of(asyncio.ensure_future(bench.storage.read(ANN, "state"))) < 0.1


async def test_several_deaths_while_the_store_is_away_are_all_recorded(bench: Bench) -> None:
    """Reads fail typed and in time. Once the store is back, all deaths are recorded before a state is loaded."""
    bench.store.down = True
    bench.guards.on_view(view(1, silo1=DEAD))
    reading = asyncio.ensure_future(bench.storage.read(ANN, "state"))
    assert await seconds_of(reading) <= TIMEOUT
    assert isinstance(reading.exception(), StorageUnavailable)
    bench.guards.on_view(view(2, silo1=DEAD, silo2=DEAD))
    await asyncio.sleep(30)
    bench.store.down = False
    await asyncio.sleep(2)
    await bench.storage.read(ANN, "state")
    for number in (1, 2):
        await fenced(bench.store.inner.write(ANN, "state", b"1", None, stamp=Stamp(silo(number), 1)))


async def test_writes_of_living_activations_do_not_wait_for_the_fence(bench: Bench) -> None:
    state = bench.state()
    await state.load()
    bench.store.fail_before = StorageUnavailable("once")
    bench.guards.on_view(view(1, silo1=DEAD))
    await state.write()
    assert state.etag == "1"


async def test_a_fence_that_the_store_refuses_is_an_alarm(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """For example a missing right in the database. It is tried again and again."""
    bench.store.fail_before = StorageError("permission denied for table grange_dead_silos")
    with caplog.at_level(logging.WARNING, logger="grange.storage"):
        bench.guards.on_view(view(1, silo1=DEAD))
        await bench.storage.read(ANN, "state")
    assert [record.event for record in caplog.records] == ["deaths_not_recorded"]
    assert "silo:11001@1" in caplog.text


async def test_a_refused_write_of_a_dead_silo_is_counted_and_an_alarm(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    state = bench.state()
    await state.load()
    await state.write()
    await bench.store.inner.fence([ME])
    with caplog.at_level(logging.WARNING, logger="grange.storage"):
        for _ in range(3):
            with pytest.raises(InconsistentStateError, match="this silo was declared dead"):
                await state.write()
    assert [(record.event, record.levelname) for record in caplog.records] == [("write_fenced", "ERROR")] * 3
    assert [figures.fenced for figures in bench.guards.figures] == [3]


async def test_names_of_one_store_share_one_guard() -> None:
    async with a_bench() as bench:
        guards = type(bench.guards)(
            {"a": bench.store, "b": bench.store}, GuardDeps(ME, random.Random(1), TIMEOUT, Events())
        )
        assert guards.storages["a"] is guards.storages["b"]


# --- the breaker --------------------------------------------------------------------------------------------------


async def test_a_store_that_is_away_fails_operations_before_they_are_sent(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """F21: one probe runs, at most about once a second; operations fail at once and typed."""
    bench.store.down = True
    with caplog.at_level(logging.INFO, logger="grange.storage"):
        with pytest.raises(StorageUnavailable, match="no server listens"):
            await bench.storage.read(ANN, "state")
        await asyncio.sleep(0.1)
        bench.store.calls.clear()
        for _ in range(100):
            with pytest.raises(StorageUnavailable, match="not tried"):
                await bench.storage.write(ANN, "state", b"1", None)
            with pytest.raises(StorageUnavailable, match="not tried"):
                await bench.storage.clear(ANN, "state", "1")
            with pytest.raises(StorageUnavailable, match="not tried"):
                await bench.storage.read(ANN, "state")
        assert bench.store.calls == []
        await asyncio.sleep(60)
        assert 60 <= len(bench.store.calls) <= 240
        bench.store.down = False
        await asyncio.sleep(2)
        assert await bench.storage.write(ANN, "state", b"1", None) == "1"
    assert [record.event for record in caplog.records] == ["storage_unavailable", "storage_back"]


async def test_one_failed_operation_of_a_healthy_store_opens_no_breaker(bench: Bench) -> None:
    """One connection that broke, or one record that is locked."""
    bench.store.fail_before = StorageUnavailable("this record is locked")
    with pytest.raises(StorageUnavailable):
        await bench.storage.write(ANN, "state", b"1", None)
    for _ in range(5):
        await bench.storage.read(ANN, "state")
        await asyncio.sleep(0)


async def test_a_store_that_hangs_is_found_by_the_probe(bench: Bench) -> None:
    """A stopped server does not answer: the first operations time out, all later ones fail at once."""
    gate = bench.store.hold()
    reading = asyncio.ensure_future(bench.storage.read(ANN, "state"))
    assert await seconds_of(reading) == pytest.approx(TIMEOUT)
    await asyncio.sleep(1.5)
    again = asyncio.ensure_future(bench.storage.read(ANN, "state"))
    assert await seconds_of(again) == 0
    assert isinstance(again.exception(), StorageUnavailable)
    gate.set()
    bench.store.gate = None
    await asyncio.sleep(3)
    await bench.storage.read(ANN, "state")


async def test_known_deaths_are_recorded_again_when_a_store_comes_back(bench: Bench) -> None:
    """It may be an older copy of itself, restored or failed over."""
    bench.guards.on_view(view(1, silo1=DEAD))
    await bench.storage.read(ANN, "state")
    bench.store.down = True
    with pytest.raises(StorageUnavailable):
        await bench.storage.read(ANN, "state")
    await asyncio.sleep(1)
    bench.store.inner = type(bench.store.inner)()
    bench.store.down = False
    await asyncio.sleep(2)
    await bench.storage.read(ANN, "state")
    await fenced(bench.store.inner.write(ANN, "state", b"1", None, stamp=Stamp(silo(1), 1)))


# --- lost answers -------------------------------------------------------------------------------------------------


async def test_a_lost_answer_is_resolved(bench: Bench) -> None:
    """F23: the write is sent again with its etag and stamp. It is applied once, and its outcome is known."""
    state = bench.state()
    await state.load()
    for number in range(1, 4):
        bench.store.lost = number
        state.value.number = number
        await state.write()
        assert (await bench.store.inner.read(ANN, "state")).etag == state.etag == str(number)
    bench.store.lost = 1
    await state.clear()
    assert state.etag == "4"


async def test_an_answer_that_stays_lost_is_an_unknown_outcome_in_time(bench: Bench) -> None:
    """The write was applied, so no error may say that it was not."""
    state = bench.state()
    await state.load()
    bench.store.lost = 1_000
    writing = asyncio.ensure_future(state.write())
    assert await seconds_of(writing) == pytest.approx(TIMEOUT)
    assert isinstance(writing.exception(), WriteOutcomeUnknown)


async def test_a_grain_that_writes_again_after_an_unknown_outcome_goes_on(bench: Bench) -> None:
    """Memory holds the value that may be stored. The next write finds out, and stores the value of memory by then."""
    state = bench.state()
    await state.load()
    bench.store.lost = 1_000
    state.value.number = 1
    with pytest.raises(WriteOutcomeUnknown):
        await state.write()
    bench.store.lost = 0
    state.value.number = 2
    await state.write()
    assert state.etag == "2"
    await state.read()
    assert state.value.number == 2


async def test_another_writer_after_a_lost_answer_leaves_it_unknown(bench: Bench) -> None:
    """It may have been applied before: to say that it was not would be a guess."""
    state = bench.state()
    await state.load()
    await state.write()
    bench.store.fail_after = WriteOutcomeUnknown("lost")
    writing = asyncio.ensure_future(state.write())
    await asyncio.sleep(0.01)
    bench.store.inner.seed(ANN, "state", b"{}")
    with pytest.raises(WriteOutcomeUnknown, match="another writer has changed"):
        await writing


async def test_a_fence_after_a_lost_answer_decides_it(bench: Bench) -> None:
    """The record is unchanged, and the store accepts no more change of this silo: certainly not stored."""
    state = bench.state()
    await state.load()
    await state.write()
    bench.store.fail_before = WriteOutcomeUnknown("lost on its way")
    writing = asyncio.ensure_future(state.write())
    await asyncio.sleep(0.01)
    await bench.store.inner.fence([ME])
    with pytest.raises(InconsistentStateError, match="declared dead"):
        await writing


async def test_a_clear_does_not_ignore_a_first_write_in_doubt(bench: Bench) -> None:
    """A clear of a record that was never stored succeeds, but a lost first write may still arrive."""
    state = bench.state()
    await state.load()
    bench.store.lost = 1_000
    with pytest.raises(WriteOutcomeUnknown):
        await state.write()
    with pytest.raises(WriteOutcomeUnknown):
        await state.clear()
