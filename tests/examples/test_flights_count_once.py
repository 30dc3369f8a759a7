"""A flight counts once in every grain, despite repeats, failing storage, and silos that die between any two steps."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from pathlib import Path

import pytest

from examples.flights.aircraft import Aircraft
from examples.flights.airport import Airport
from examples.flights.carrier import Carrier
from examples.flights.check import totals_of
from examples.flights.feeder import Feeder
from examples.flights.flight import Flight, NotAcknowledged
from examples.flights.reader import compare, read_totals
from examples.flights.source import read_flights
from grange import GrainId, StorageUnavailable
from grange.testing import TestCluster
from tests.examples.crashing import Unreliable
from tests.examples.departures import first_of_january

GRAINS = (Aircraft, Airport, Carrier)
FLIGHT = Flight("20130101UA1545EWR", "N14228", "UA", "EWR", "IAH", False, 2, 11)


def cluster_on(storage: Unreliable, silos: int = 2) -> TestCluster:
    return TestCluster(grains=GRAINS, silos=silos, storage=storage)


async def assert_counted_once(cluster: TestCluster, path: Path) -> None:
    expected = totals_of(path)
    comparison = compare(expected, await read_totals(cluster, expected))
    assert comparison.differences == ()
    assert comparison.compared > 1000


async def flights_of(cluster: TestCluster) -> list[int]:
    """How often FLIGHT was counted by its aircraft, origin, destination and carrier."""
    aircraft, carrier = cluster.get_grain(Aircraft, "N14228"), cluster.get_grain(Carrier, "UA")
    origin, destination = cluster.get_grain(Airport, "EWR"), cluster.get_grain(Airport, "IAH")
    return [
        (await aircraft.totals()).flights,
        (await origin.totals()).departures.flights,
        (await destination.totals()).arrivals.flights,
        (await carrier.totals()).flights,
    ]


async def forget_memory(cluster: TestCluster) -> None:
    """Kill all silos, so that the next reads load the state from storage."""
    old = list(cluster.silos)
    await cluster.add_silo()
    for silo in old:
        await cluster.kill(silo)
    await cluster.stable()


async def test_every_total_is_right_and_every_repeat_is_recognised(tmp_path: Path) -> None:
    path = first_of_january(tmp_path, 250)
    async with TestCluster(grains=GRAINS, silos=2) as cluster:
        feeder, again = (Feeder(cluster, 64, random.Random(0)) for _ in range(2))
        await asyncio.gather(feeder.feed(read_flights(path)), again.feed(reversed(list(read_flights(path)))))
        await again.feed(read_flights(path))
        assert (feeder.recorded, again.recorded) == (250, 500)
        await assert_counted_once(cluster, path)


async def test_each_flight_counts_once_when_a_silo_dies_half_way(tmp_path: Path) -> None:
    path = first_of_january(tmp_path, 250)
    async with TestCluster(grains=GRAINS, silos=3) as cluster:
        half = asyncio.Event()
        feeder = Feeder(cluster, 64, random.Random(0), lambda *_: half.set() if feeder.recorded == 125 else None)
        feeding = asyncio.create_task(feeder.feed(read_flights(path)))
        await half.wait()
        await cluster.kill(cluster.silos[0])
        await feeding
        assert feeder.repeats.total() > 0, "the kill interrupted no call"
        await forget_memory(cluster)
        await assert_counted_once(cluster, path)


@pytest.mark.parametrize("seed", range(3))
async def test_each_flight_counts_once_when_storage_fails_at_times(tmp_path: Path, seed: int) -> None:
    path, storage, rng = first_of_january(tmp_path, 150), Unreliable(), random.Random(seed)
    async with cluster_on(storage) as cluster:
        storage.fail_at_random(rng, share=0.2)
        feeder = Feeder(cluster, 64, rng)
        await feeder.feed(read_flights(path))
        assert feeder.repeats.total() > 20
        storage.fail_at_random(rng, share=0)
        await forget_memory(cluster)
        await assert_counted_once(cluster, path)


@pytest.mark.parametrize("stored", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("grain_type", ["flights.aircraft", "flights.airport", "flights.carrier"])
async def test_a_flight_counts_once_when_the_silo_dies_at_a_write(grain_type: str, stored: bool) -> None:
    """The silo dies before the write is stored, or after it was stored and before the grain gets the answer."""
    storage = Unreliable()
    async with cluster_on(storage) as cluster:
        dead = asyncio.Event()
        killing: list[asyncio.Task[None]] = []

        async def kill(grain_id: GrainId) -> None:
            if grain_id.type != grain_type or killing:
                return
            silo = next(each for each in cluster.silos if _hosts(each, grain_id))
            killing.append(asyncio.create_task(cluster.kill(silo)))
            await dead.wait()  # for ever: this silo is dead

        setattr(storage, "after" if stored else "before", kill)
        feeder = Feeder(cluster, 1, random.Random(0))
        async with asyncio.timeout(60):
            await feeder.feed([FLIGHT])
        assert killing
        assert feeder.repeats.total() > 0
        assert await flights_of(cluster) == [1, 1, 1, 1]


async def test_a_flight_that_was_not_reported_is_reported_by_the_next_activation() -> None:
    """The flight was stored, one airport did not answer, and all silos died. The repeat reports it once."""
    storage = Unreliable()
    async with cluster_on(storage) as cluster:

        async def refuse(grain_id: GrainId) -> None:
            if grain_id.key == "IAH":
                raise StorageUnavailable("no")

        storage.before = refuse
        with pytest.raises(NotAcknowledged, match="20130101UA1545EWR: 1 of 3 did not acknowledge"):
            await cluster.get_grain(Aircraft, "N14228").record(FLIGHT)
        storage.fail_at_random(random.Random(0), share=0)
        await forget_memory(cluster)
        assert await flights_of(cluster) == [1, 1, 0, 1]
        assert not await cluster.get_grain(Aircraft, "N14228").record(FLIGHT)
        assert await flights_of(cluster) == [1, 1, 1, 1]


async def test_a_repeat_is_not_acknowledged_before_the_first_is_stored() -> None:
    """The first report waits in a write. Its repeat finds it counted in memory, and must wait for the same write."""
    storage = Unreliable()
    async with cluster_on(storage) as cluster:
        writing, go_on = asyncio.Event(), asyncio.Event()

        async def hold(grain_id: GrainId) -> None:
            writing.set()
            await go_on.wait()

        storage.before = hold
        carrier = cluster.get_grain(Carrier, "UA")
        first = asyncio.create_task(carrier.note_flight(1, FLIGHT))
        await writing.wait()
        second = asyncio.create_task(carrier.note_flight(1, FLIGHT))
        reading = asyncio.create_task(carrier.totals())
        await cluster.advance(5)
        assert not first.done()
        assert not second.done()
        assert not reading.done()
        go_on.set()
        await asyncio.gather(first, second)
        assert (await reading).flights == 1


async def test_a_report_that_all_have_acknowledged_is_not_sent_again() -> None:
    async with TestCluster(grains=GRAINS, silos=2) as cluster:
        aircraft, carrier = cluster.get_grain(Aircraft, "N14228"), cluster.get_grain(Carrier, "UA")
        await aircraft.record(FLIGHT)
        last_used = cluster.activation(carrier).last_used
        await cluster.advance(10)
        await aircraft.record(dataclasses.replace(FLIGHT, id="20130102AA7EWR", carrier="AA"))
        assert cluster.activation(carrier).last_used == last_used


async def test_many_flights_share_a_write() -> None:
    storage = Unreliable()
    async with cluster_on(storage) as cluster:
        writing, go_on = asyncio.Event(), asyncio.Event()

        async def hold(grain_id: GrainId) -> None:
            writing.set()
            await go_on.wait()

        storage.before = hold
        carrier = cluster.get_grain(Carrier, "UA")
        first = asyncio.create_task(carrier.note_flight(1, FLIGHT))
        await writing.wait()
        others = [asyncio.create_task(carrier.note_flight(number, FLIGHT)) for number in range(2, 102)]
        await cluster.advance(1)
        go_on.set()
        await asyncio.gather(first, *others)
        assert (await carrier.totals()).flights == 101
        assert storage.writes <= 3


@pytest.mark.parametrize("missing", GRAINS)
async def test_the_feeder_does_not_repeat_a_permanent_error_for_ever(missing: type) -> None:
    """No silo hosts one of the grain types. The feeder raises that, at any place of the call chain."""
    async with TestCluster(grains=[each for each in GRAINS if each is not missing], silos=1) as cluster:
        with pytest.raises(ExceptionGroup) as failed:
            async with asyncio.timeout(60):
                await Feeder(cluster, 1, random.Random(0)).feed([FLIGHT])
        assert f"no active silo hosts grain type 'flights.{missing.__name__.lower()}'" in repr(failed.value)


def _hosts(silo: object, grain_id: GrainId) -> bool:
    return any(each.grain_id == grain_id for each in silo.catalog.activations())  # type: ignore[attr-defined]
