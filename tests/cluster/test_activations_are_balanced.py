"""The rebalancer moves idle activations to silos with fewer, and nothing that must stay (MIG-06, MIG-07)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from grange import Grain, SiloAddress, placement_hint
from grange.membership.model.member import Member, SiloStatus, Vote, make_view
from grange.placement.balance import Suspension
from grange.placement.loads import LoadRow
from grange.silo.load_gossip import LoadMessage
from grange.silo.rebalancer import AT_ONCE, is_movable
from grange.silo.silo import Silo
from grange.testing import TestCluster

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = {"rebalance": True, "rebalance_delay": 5.0, "rebalance_period": 5.0}


class Tally(Grain, name="tally", placement="random"):
    """Carries its number, so that a test sees a lost one."""

    def __init__(self) -> None:
        self.number = 0

    async def add(self) -> int:
        self.number += 1
        return self.number

    async def dehydrate(self) -> int:
        return self.number

    async def rehydrate(self, memory: int) -> None:
        self.number = memory


class Ringed(Grain, name="ringed"):
    async def ping(self) -> None: ...


class Pinned(Tally, name="pinned", placement="random", migratable=False):
    pass


class Kept(Tally, name="kept", placement="random", keep_alive=True):
    pass


class Delayed(Tally, name="delayed", placement="random"):
    async def add(self) -> int:
        self.delay_deactivation(3600)
        return await super().add()


class Ticking(Tally, name="ticking", placement="random"):
    async def add(self) -> int:
        self.start_timer(self.tick, 3600)
        return await super().add()

    async def tick(self) -> None: ...


class Busy(Tally, name="busy", placement="random"):
    async def wait(self) -> int:
        await asyncio.sleep(60)
        return await self.add()


STAYS = (Pinned, Kept, Delayed, Ticking)


def counts(cluster: TestCluster, grain: type[Grain[Any]] = Tally) -> list[int]:
    return [silo.catalog.counts().get(grain.__name__.lower(), 0) for silo in cluster.silos]


async def fill(cluster: TestCluster, silo: Silo, grain: type[Tally], count: int) -> None:
    with placement_hint(silo.address):
        for number in range(count):
            await cluster.get_grain(grain, f"{silo.name}-{number}").add()


async def test_full_silos_give_to_those_with_fewer_while_new_grains_come() -> None:
    """MIG-06: silos 1 and 3 are overfull; activations move to 2 and 4, with their memory."""
    async with TestCluster([Tally], silos=4, placement_options=OPTIONS) as cluster:
        for silo in (cluster.silos[0], cluster.silos[2]):
            await fill(cluster, silo, Tally, 150)
        assert counts(cluster) == [150, 0, 150, 0]
        for number in range(30):
            await cluster.advance(1)
            await cluster.get_grain(Tally, f"new-{number}").add()
        after = counts(cluster)
        assert sum(after) == 330
        assert max(after) <= 1.2 * 330 / 4
        for name in ("silo-1", "silo-3"):
            for number in range(150):
                assert await cluster.get_grain(Tally, f"{name}-{number}").add() == 2
        assert sum(after) == 330


async def test_grains_of_the_ring_move_to_their_owner_after_a_scale_out() -> None:
    async with TestCluster([Ringed], silos=2, placement_options=OPTIONS) as cluster:
        grains = [cluster.get_grain(Ringed, str(number)) for number in range(300)]
        for grain in grains:
            await grain.ping()
        added = await cluster.add_silo()
        await cluster.advance(60)
        moved = [grain for grain in grains if cluster.where(grain) is added]
        assert len(moved) > 30
        ring = added.directory.topology.ring
        assert all(ring.owner(grain.id.ring_hash) == added.address for grain in moved)


async def test_what_must_stay_stays() -> None:
    """Pinned classes, those kept alive, delayed ones, those with timers, and busy ones until they are idle."""
    async with TestCluster([*STAYS, Busy], silos=2, placement_options=OPTIONS) as cluster:
        full = cluster.silos[0]
        for grain in STAYS:
            await fill(cluster, full, grain, 20)
        await fill(cluster, full, Busy, 20)
        turns = [asyncio.create_task(cluster.get_grain(Busy, f"silo-1-{number}").wait()) for number in range(20)]
        await cluster.advance(20)
        assert [counts(cluster, grain) for grain in (*STAYS, Busy)] == [[20, 0]] * 5
        await cluster.advance(15)
        assert sum(counts(cluster, Busy)) == 20
        await asyncio.sleep(0)
        await cluster.advance(60)
        assert [counts(cluster, grain) for grain in STAYS] == [[20, 0]] * 4
        assert counts(cluster, Busy) == [0, 20]
        assert await asyncio.gather(*turns, return_exceptions=True)


async def test_an_activation_without_an_entry_in_the_directory_stays() -> None:
    """Its successor would have nothing to replace, and an activation elsewhere could win beside it."""
    async with TestCluster([Tally], silos=1) as cluster:
        tally = cluster.get_grain(Tally, "a")
        await tally.add()
        activation = cluster.activation(tally)
        assert activation is not None
        now = asyncio.get_running_loop().time()
        assert is_movable(activation, now)
        activation.claimed = False
        assert not is_movable(activation, now)
        activation.claimed = True


async def test_it_waits_while_the_cluster_changes_and_when_it_is_off() -> None:
    async with TestCluster([Tally], silos=2) as cluster:
        await fill(cluster, cluster.silos[0], Tally, 50)
        await cluster.advance(200)
        assert counts(cluster) == [50, 0]
        assert cluster.silos[0]._running.hosting.rebalancer.state().state == "off"
    slow = {**OPTIONS, "rebalance_delay": 100.0}
    async with TestCluster([Tally], silos=2, placement_options=slow) as cluster:
        await fill(cluster, cluster.silos[0], Tally, 50)
        await cluster.advance(60)
        assert counts(cluster) == [50, 0]
        assert cluster.silos[0]._running.hosting.rebalancer.state().state == "waits: the cluster has changed"
        await cluster.advance(100)
        assert counts(cluster) == [25, 25]


async def test_nothing_moves_during_a_rolling_update() -> None:
    """EXT-02: while two revisions are active, new grains are on the newest one and no other moves."""
    async with TestCluster([Tally], silos=2, revision=1, placement_options=OPTIONS) as cluster:
        full, other = cluster.silos
        await fill(cluster, full, Tally, 60)
        new = await cluster.add_silo(revision=2)
        await cluster.advance(60)
        assert counts(cluster) == [60, 0, 0]
        assert full._running.hosting.rebalancer.state().state == "waits: two revisions are active"
        assert await cluster.get_grain(Tally, "new").add() == 1
        assert counts(cluster) == [60, 0, 1]
        await cluster.stop(other)
        await cluster.stop(full)
        await cluster.advance(60)
        assert new.catalog.counts()["tally"] == 61
        await cluster.add_silo(revision=2)
        await cluster.advance(60)
        assert counts(cluster) in ([30, 31], [31, 30])


async def test_nothing_moves_until_a_death_is_old() -> None:
    """EXT-02: a silo could not be reached, and was declared dead."""
    async with TestCluster([Tally], silos=3, placement_options=OPTIONS) as cluster:
        full, _, lost = cluster.silos
        suspension = full._running.hosting.rebalancer.suspension
        suspension.set(1000)
        await fill(cluster, full, Tally, 60)
        await cluster.advance(20)
        await cluster.kill(lost)
        while lost.address in full.directory.topology.ring.addresses:
            await cluster.advance(0.1)
        suspension.set(0)
        await cluster.advance(4)
        assert counts(cluster) == [60, 0]
        await cluster.advance(30)
        assert counts(cluster) == [30, 30]


@pytest.mark.parametrize("change", ["voted", "joining"])
async def test_a_round_ends_when_a_silo_is_suspected_or_joins(change: str) -> None:
    """EXT-02: of 60 above the mean only the first 25 move, and the rest when the cluster has settled."""
    async with TestCluster([Tally], silos=2, placement_options=OPTIONS) as cluster:
        full, other = cluster.silos
        await fill(cluster, full, Tally, 120)
        cluster.network.fate = lambda *_: (0.05,)
        while counts(cluster)[0] == 120:
            await asyncio.sleep(0.001)
        members = [*full.view.members]
        if change == "joining":
            members.append(Member(SiloAddress("10.0.0.9", 9, 9), SiloStatus.JOINING, STARTED, STARTED))
        else:
            votes = (Vote(full.address, STARTED),)
            members = [replace(each, votes=votes) if each.address == other.address else each for each in members]
        full.directory.on_view(make_view(full.view.version + 1, members))
        await cluster.advance(3)
        assert 120 - counts(cluster)[0] <= 25
        assert full._running.hosting.rebalancer.state().state == "waits: the cluster has changed"
        await cluster.advance(60)
        assert counts(cluster) == [60, 60]


async def test_a_suspension_counts_on_all_silos_and_outlives_the_one_that_was_asked() -> None:
    """MIG-07: the latest suspension wins, everywhere; it holds when its silo stops, and for a silo that joins."""
    async with TestCluster([Tally], silos=3, placement_options=OPTIONS) as cluster:
        asked, full, _ = cluster.silos
        await fill(cluster, full, Tally, 60)
        full._running.hosting.rebalancer.suspension.set(500.0)
        await cluster.advance(4)
        asked._running.hosting.rebalancer.suspension.set(120.0)
        await cluster.advance(4)
        left = [silo._running.hosting.rebalancer.state().suspended for silo in cluster.silos]
        assert all(100 < seconds < 120 for seconds in left), left
        await cluster.stop(asked)
        added = await cluster.add_silo()
        await cluster.advance(20)
        state = added._running.hosting.rebalancer.state()
        assert state.state == "suspended"
        assert max(counts(cluster)) == 60
        await cluster.advance(150)
        assert max(counts(cluster)) <= 24
        assert sum(counts(cluster)) == 60
        assert full._running.hosting.rebalancer.state().moved >= 36


async def test_a_round_moves_no_more_than_its_limit() -> None:
    async with TestCluster([Tally], silos=2, placement_options={**OPTIONS, "rebalance_moves": 7}) as cluster:
        await fill(cluster, cluster.silos[0], Tally, 50)
        rebalancer = cluster.silos[0]._running.hosting.rebalancer
        while not rebalancer.moved:
            await cluster.advance(1)
        assert rebalancer.moved == 7


async def test_a_cordoned_silo_gives_what_it_has_too_many() -> None:
    """A cordon keeps new grains away. It must not end the rebalancer of the silo."""
    async with TestCluster([Tally], silos=2, placement_options=OPTIONS) as cluster:
        full = cluster.silos[0]
        await fill(cluster, full, Tally, 60)
        await full._running.cluster.agent.cordon(True)
        await cluster.advance(30)
        assert counts(cluster) == [30, 30]


async def test_what_a_peer_says_of_loads_is_checked() -> None:
    """Only other living silos count, with figures that placement can compute with; a suspension has an end."""
    async with TestCluster([Tally], silos=2, placement_options=OPTIONS) as cluster:
        asked, peer = cluster.silos
        loads, suspension = asked.directory.loads, asked._running.hosting.rebalancer.suspension
        gone = SiloAddress("127.0.0.1", 1, 1)

        async def tell(*rows: LoadRow, suspended: Suspension | None = None) -> None:
            message = LoadMessage([*rows], suspended or Suspension(0, gone, 0.0))
            await asked._running.gossip._answer(msgspec.msgpack.encode(message))

        await tell(LoadRow(gone, 10**9, 0.5, 7), LoadRow(asked.address, 10**9, 0.5, 7))
        assert gone not in loads.fresh()
        assert asked.address not in loads.fresh() or loads.fresh()[asked.address].activations == 0
        for value in (float("nan"), float("inf"), -1.0):
            await tell(LoadRow(peer.address, 10**9, value, 7))
        await tell(LoadRow(peer.address, 10**9, 0.5, -7))
        assert peer.address not in loads.fresh() or loads.fresh()[peer.address].activations == 0
        await tell(LoadRow(peer.address, 10**9, 0.5, 7))
        assert loads.fresh()[peer.address].activations == 7
        await tell(suspended=Suspension(5, gone, float("inf")))
        await tell(suspended=Suspension(2**64 - 1, gone, 60.0))
        assert suspension.left == 0
        suspension.set(30.0)
        msgspec.msgpack.encode(suspension.row())
        await cluster.kill(peer)
        await cluster.advance(60)
        assert {row.silo for row in loads.rows()} == {asked.address}
        assert peer.address not in loads._known


async def test_a_suspension_ends_a_round_that_runs() -> None:
    """MIG-07: what is under way arrives, and no more begins."""
    async with TestCluster([Tally], silos=2, placement_options={**OPTIONS, "rebalance_period": 600.0}) as cluster:
        full = cluster.silos[0]
        await fill(cluster, full, Tally, 120)
        await cluster.advance(10)
        rebalancer = full._running.hosting.rebalancer
        running = asyncio.create_task(rebalancer.round())
        await asyncio.sleep(0)
        rebalancer.suspension.set(500.0)
        assert await running == AT_ONCE
        assert sum(counts(cluster)) == 120
