"""The figures of a silo: each one changes when the thing happens, and the answer to `management.figures`."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

import msgspec
import pytest

from grange import Grain, InconsistentStateError, PersistentState
from grange.errors import ActivationFailed, CallNotExecuted, CallTimeout, NoSuchMethod, Overloaded
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.observability.events import Events
from grange.observability.histogram import Histogram
from grange.observability.metrics import METRICS
from grange.observability.snapshot import Snapshot
from grange.proto.ids import GrainId
from grange.proto.inspection import FIGURES
from grange.runtime.calls.load_shedding import LoadShedder
from grange.silo.loop_lag import PERIOD, measure_lag
from grange.testing import TestCluster
from grange.testing.loop import clock_of_loop
from tests.cluster.test_a_cut_off_silo_fences_itself import Cluster as Separate
from tests.cluster.test_a_cut_off_silo_fences_itself import fenced
from tests.cluster.test_duplicates_are_found import TWO_PERIODS, plant


@dataclass
class Items:
    count: int = 0


class Cart(Grain, idle_timeout=60):
    def __init__(self, items: PersistentState[Items]) -> None:
        self.items = items

    async def on_activate(self) -> None:
        if self.key == "broken":
            raise ValueError("no")
        if self.key == "slow":
            await asyncio.sleep(3)

    async def hold(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    async def fail(self) -> None:
        raise ValueError("no")

    async def save(self) -> None:
        self.items.value.count += 1
        await self.items.write()

    async def call(self, key: str, seconds: float = 0) -> None:
        await self.get_grain(Cart, key).hold(seconds)


def figures(cluster: TestCluster, number: int = 0) -> Snapshot:
    return cluster.silos[number].inspection.figures.snapshot()


async def asked(cluster: TestCluster, number: int = 0) -> Snapshot:
    answer = await cluster.client.ask(cluster.client.gateways[number], FIGURES, b"")
    return msgspec.msgpack.decode(answer, type=Snapshot)


async def test_a_silo_answers_with_its_figures() -> None:
    async with TestCluster(grains=[Cart], silos=2) as cluster:
        await cluster.get_grain(Cart, "ann").hold()
        both = [await asked(cluster, number) for number in range(2)]
        assert sum(each.activations for each in both) == 1
        assert {each.name for each in both} == {silo.name for silo in cluster.silos}
        assert all(each.membership.silos == {"active": 2} and each.ready for each in both)
        assert all(each.status == "active" and each.process.cpu > 0 for each in both)


async def test_requests_are_counted_by_their_outcomes() -> None:
    async with TestCluster(grains=[Cart], silos=1) as cluster:
        ann = cluster.get_grain(Cart, "ann")
        await ann.hold()
        with pytest.raises(ValueError, match="no"):
            await ann.fail()
        with pytest.raises(CallNotExecuted):
            await cluster.client.call_json(GrainId("cart", "ann"), "hold", b'["not a number"]')
        with pytest.raises(NoSuchMethod):
            await cluster.client.call_json(GrainId("cart", "ann"), "no_such_method", b"[]")
        found = figures(cluster)
        methods = {method.method: method for method in found.types[0].methods}
        assert (methods["hold"].calls.count, methods["hold"].failed, methods["hold"].refused) == (
            1,
            0,
            {"invalid_call": 1},
        )
        assert (methods["fail"].calls.count, methods["fail"].failed) == (1, 1)
        assert found.refused == {"no_such_method": 1}


async def test_waits_turns_and_calls_in_progress_are_counted() -> None:
    async with TestCluster(grains=[Cart], silos=1) as cluster:
        calls = [asyncio.create_task(cluster.get_grain(Cart, "ann").hold(4)) for _ in range(3)]
        await cluster.advance(2)
        now = figures(cluster)
        assert (now.in_flight, now.waiting, now.running, now.stuck) == (3, 2, 1, 1)
        assert now.types[0].waiting == 2
        await asyncio.gather(*calls)
        after = figures(cluster)
        hold = next(method for method in after.types[0].methods if method.method == "hold")
        assert (after.in_flight, after.waiting, after.running, after.stuck) == (0, 0, 0, 0)
        assert hold.turns.total == pytest.approx(12, abs=0.1)
        assert hold.waits.total == pytest.approx(12, abs=0.1)  # 4 and 8
        assert hold.calls.total == pytest.approx(24, abs=0.1)
        assert hold.turns.over(1.0) == 3


async def test_the_wait_for_the_activation_belongs_to_the_wait_for_the_turn() -> None:
    async with TestCluster(grains=[Cart], silos=1) as cluster:
        await asyncio.gather(*(cluster.get_grain(Cart, "slow").hold(4) for _ in range(2)))
        hold = next(method for method in figures(cluster).types[0].methods if method.method == "hold")
        assert hold.waits.total == pytest.approx(3 + 7, abs=0.1)
        assert hold.calls.total == pytest.approx(3 + 4 + 7 + 4, abs=0.1)


async def test_a_turn_that_waits_at_the_gate_of_a_fenced_silo_is_not_stuck() -> None:
    async with TestCluster(grains=[Cart], silos=1) as cluster:
        ann, gate = cluster.get_grain(Cart, "ann"), cluster.silos[0].catalog.deps.gate
        await ann.hold()
        gate.pause()
        call = asyncio.create_task(ann.hold())
        await cluster.advance(2)
        assert (figures(cluster).running, figures(cluster).stuck) == (1, 0)
        gate.open(math.inf)
        await call


async def test_calls_to_other_silos_are_counted_where_they_are_made() -> None:
    async with TestCluster(grains=[Cart], silos=2) as cluster:
        first, second = cluster.silos
        here = next(f"{n}" for n in range(99) if cluster_place(cluster, f"{n}") == first.address)
        there = next(f"{n}" for n in range(99) if cluster_place(cluster, f"{n}") == second.address)
        await cluster.get_grain(Cart, here).call(there)
        (sent,) = figures(cluster).outgoing
        assert (sent.type, sent.method, sent.calls.count, sent.failed) == ("cart", "hold", 1, 0)
        with pytest.raises(CallTimeout):
            await cluster.get_grain(Cart, here).call(there, 100)
        await cluster.advance(1)  # the time of the inner call ends with that of the outer one, or just after it
        (sent,) = figures(cluster).outgoing
        assert (sent.unknown, sent.timeouts, figures(cluster).timeouts) == (1, 1, 1)


def cluster_place(cluster: TestCluster, key: str) -> object:
    return cluster.silos[0].directory.locator.known(GrainId("cart", key))


async def test_activations_and_states_are_counted_by_type() -> None:
    async with TestCluster(grains=[Cart], silos=1) as cluster:
        await cluster.get_grain(Cart, "ann").save()
        with pytest.raises((ActivationFailed, ValueError)):
            await cluster.get_grain(Cart, "broken").hold()
        await cluster.silos[0].catalog.deps.grains.get_grain(Cart, "ann").save()
        (cart,) = figures(cluster).types
        assert (cart.activations, cart.created, cart.failed, cart.writes) == (1, 2, 1, 2)
        assert cart.activation.count == 1
        (store,) = figures(cluster).stores
        assert {name: each.count for name, each in store.operations.items()} == {
            "claim": 2,
            "read": 0,
            "write": 2,
            "clear": 0,
        }
        await cluster.advance(200)
        (cart,) = figures(cluster).types
        assert (cart.activations, cart.collected) == (0, 1)


async def test_a_lost_race_is_a_conflict() -> None:
    async with TestCluster(grains=[Cart], silos=1) as cluster:
        ann = cluster.get_grain(Cart, "ann")
        await ann.save()
        storage = cluster.silos[0]._running.stores.guards.storages["default"]
        record = await storage.read(GrainId("cart", "ann"), "items")
        assert record.payload is not None
        await storage.write(GrainId("cart", "ann"), "items", record.payload, record.etag)
        with pytest.raises(InconsistentStateError):
            await ann.save()
        assert figures(cluster).stores[0].conflicts == 1
        assert figures(cluster).types[0].conflicts == 1


async def test_membership_and_traffic_are_counted() -> None:
    async with TestCluster(grains=[Cart], silos=3) as cluster:
        await cluster.advance(5)
        before = figures(cluster)
        assert before.membership.rtt.count > 0
        await cluster.kill(cluster.silos[2])
        await cluster.advance(20)
        both = [figures(cluster, number).membership for number in range(2)]
        assert all(each.deaths == 1 and each.silos.get("dead", 0) == 1 for each in both)
        assert sum(each.suspicions for each in both) >= 1
        silos, clients = figures(cluster).traffic
        assert silos.messages_sent > before.traffic[0].messages_sent > 0
        assert silos.bytes_received > 0
        assert clients.connections > 0


async def test_the_state_of_a_silo_looks_at_no_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    """`grange status` is the health check of a container; with a million activations a look at each takes 0.3 s."""
    async with TestCluster(grains=[Cart], silos=1) as cluster:
        for number in range(20):
            await cluster.get_grain(Cart, str(number)).hold()
        silo = cluster.silos[0]

        def refuse(*_: object) -> object:
            raise AssertionError("it looks at the activations")

        monkeypatch.setattr(type(silo.catalog), "activations", refuse)
        monkeypatch.setattr(silo.catalog, "targets", None)
        assert silo.management.state().activations == {"cart": 20}
        assert silo.inspection.figures.snapshot().activations == 20
        monkeypatch.undo()


async def test_every_metric_reads_a_snapshot_without_a_grain_key() -> None:
    async with TestCluster(grains=[Cart], silos=1) as cluster:
        await cluster.get_grain(Cart, "secret-key").save()
        found = figures(cluster)
        for metric in METRICS:
            for labels, _ in metric.read(found):
                assert len(labels) == len(metric.labels), metric.name
                assert not any("secret-key" in label for label in labels), metric.name


class Stray(Grain, placement="random"):
    async def touch(self) -> None: ...


async def test_lookups_hits_and_registrations_are_counted() -> None:
    async with TestCluster(grains=[Stray], silos=3) as cluster:
        before = figures(cluster).directory
        strays = [cluster.silos[0].get_grain(Stray, str(number)) for number in range(20)]
        for stray in strays:
            await stray.touch()
        first = figures(cluster).directory
        assert first.lookups - before.lookups == 20
        assert first.cache_hits == before.cache_hits
        assert sum(figures(cluster, number).directory.registrations for number in range(3)) == 20
        for stray in strays:
            await stray.touch()
        second = figures(cluster).directory
        assert second.lookups == first.lookups
        assert second.cache_hits > first.cache_hits


async def test_a_registration_that_finds_another_activation_is_counted() -> None:
    """Two silos place each grain at the same time, at random."""
    async with TestCluster(grains=[Stray], silos=3) as cluster:
        both = [silo.get_grain(Stray, str(number)) for number in range(20) for silo in cluster.silos[:2]]
        await asyncio.gather(*(each.touch() for each in both))
        directories = [figures(cluster, number).directory for number in range(3)]
        assert sum(each.registrations for each in directories) == 20
        assert sum(each.conflicts for each in directories) > 0


async def test_a_range_that_is_taken_over_is_timed() -> None:
    async with TestCluster(grains=[Stray], silos=1) as cluster:
        new = await cluster.add_silo()
        await cluster.advance(5)
        assert new.inspection.figures.snapshot().directory.transfers.count > 0


async def test_what_the_consistency_checker_finds_is_counted() -> None:
    async with TestCluster(grains=[Stray], silos=2) as cluster:
        one, other = cluster.silos
        stray = cluster.get_grain(Stray, "a")
        await stray.touch()
        home, twin = cluster.where(stray), GrainId("stray", "a")
        plant(other if home is one else one, twin)
        lost = cluster.get_grain(Stray, "b")
        await lost.touch()
        activation = cluster.activation(lost)
        assert activation is not None
        activation.claimed = False  # so that its end does not release the entry
        activation.deactivate(DeactivationReason(DeactivationCode.OPERATOR, "a test"))
        await cluster.advance(TWO_PERIODS)
        directories = [figures(cluster, number).directory for number in range(2)]
        assert sum(each.duplicates for each in directories) == 1
        assert sum(each.stale for each in directories) == 1
        assert sum(each.duplicates for number in range(2) for each in figures(cluster, number).types) == 1


async def test_a_registration_that_was_lost_is_restored_and_counted() -> None:
    async with TestCluster(grains=[Stray], silos=2) as cluster:
        stray = cluster.get_grain(Stray, "a")
        await stray.touch()
        for silo in cluster.silos:
            for entry in list(silo.directory.partition.entries):
                silo.directory.partition.unregister(entry)
        await cluster.advance(TWO_PERIODS)
        assert sum(figures(cluster, number).directory.repaired for number in range(2)) == 1


async def test_requests_beyond_the_admission_limit_are_counted_as_shed() -> None:
    async with TestCluster(grains=[Cart], silos=1, runtime={"admission_limit": 1}) as cluster:
        held = asyncio.create_task(cluster.get_grain(Cart, "ann").hold(5))
        await cluster.advance(1)
        with pytest.raises(Overloaded):
            await cluster.get_grain(Cart, "bob").hold()
        assert figures(cluster).shed > 0
        await held


async def test_a_fence_is_counted() -> None:
    async with Separate(2) as cluster:
        one, other = cluster.silos
        cluster.isolate(one, other)
        await fenced(one)
        assert one.inspection.figures.snapshot().membership.fences == 1
        assert other.inspection.figures.snapshot().membership.fences == 0


async def test_the_lateness_of_the_loop_is_measured() -> None:
    with clock_of_loop(virtual=True) as time:
        assert time is not None
        lag = Histogram()
        task = asyncio.create_task(measure_lag(lag, LoadShedder(0.0), Events()))
        await time.advance(PERIOD * 4.5)
        assert (lag.frozen().count, lag.total) == (4, pytest.approx(0))
        asyncio.get_running_loop().call_later(0.001, setattr, time, "_now", time.time() + 0.3)  # as a turn that blocks
        await time.advance(1)
        assert lag.total == pytest.approx(0.3, abs=PERIOD)
        task.cancel()
        await asyncio.wait([task])
