"""The directory and the catalogs are compared all the time: differences are found, counted and repaired."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest

from grange.directory.cluster import RepairCounts
from grange.directory.slice.messages import CHECK, PRESENT
from grange.errors import SiloUnavailable
from grange.proto.ids import GrainAddress, GrainId
from tests.directory.cluster import Cluster, Host
from tests.directory.virtual_time import run

GRAINS = [GrainId("cart", str(number)) for number in range(60)]
TWO_PERIODS = 26.0
"""Seconds of two 10 s periods, with their jitter and the confirming comparison."""


def plant(host: Host, grain_id: GrainId) -> GrainAddress:
    """Add an activation that the directory does not know."""
    host.won[grain_id] = host.address(grain_id)
    return host.won[grain_id]


def found(cluster: Cluster) -> RepairCounts:
    """The repair counts of all silos, added up."""
    each = [host.directory.repairs for host in cluster.hosts.values()]
    return RepairCounts(*(sum(values) for values in zip(*map(msgspec.structs.astuple, each), strict=True)))


@pytest.mark.parametrize("local", [True, False])
def test_a_duplicate_is_found_within_two_periods_and_the_registered_one_stays(
    local: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(second if local else third)
            stays = await first.activate(grain_id)
            assert stays is not None
            ends = plant(second, grain_id)
            await asyncio.sleep(TWO_PERIODS)
            assert second.lost == [ends]
            assert not first.lost
            assert found(cluster) == RepairCounts(duplicates=1)
            [record] = [one for one in caplog.records if getattr(one, "event", "") == "duplicate_activation"]
            assert record.levelno == logging.ERROR
            for address in (stays, ends):
                assert f"{address.activation:032x} on silo {address.silo}" in record.getMessage()
            cluster.check_registered()

    run(main())


@pytest.mark.parametrize("local", [True, False])
def test_an_activation_that_is_not_registered_is_registered_again(local: bool) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(first if local else third)
            address = plant(first, grain_id)
            await asyncio.sleep(TWO_PERIODS)
            entry = await second.directory.directory.lookup(grain_id)
            assert address.same_activation(entry)
            assert found(cluster) == RepairCounts(repaired=1)
            assert not first.lost

    run(main())


def test_an_entry_without_an_activation_gives_way_to_the_existing_activation() -> None:
    """The entry names a live silo that does not have the activation, so there is no duplicate."""

    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(third)
            third.directory.partition.register(second.address(grain_id))
            address = plant(first, grain_id)
            await first.directory.compare()
            assert found(cluster) == RepairCounts(repaired=1)
            assert address.same_activation(await second.directory.directory.lookup(grain_id))

    run(main())


@pytest.mark.parametrize("local", [True, False])
def test_an_entry_without_an_activation_is_removed(local: bool) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, _ = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(first)
            first.directory.partition.register((first if local else second).address(grain_id))
            await asyncio.sleep(TWO_PERIODS)
            assert first.directory.partition.entries == []
            assert found(cluster) == RepairCounts(stale=1)

    run(main())


def test_a_claim_or_a_release_in_flight_is_no_mismatch() -> None:
    async def main() -> None:
        async with Cluster(ask_timeout=500.0, claim_timeout=500.0, release_timeout=500.0) as cluster:
            owner, host, other = await cluster.start(3)
            await cluster.quiet()
            claimed, released = cluster.owned_by(owner), cluster.owned_by(owner, "dice")
            await host.activate(released)
            # The owner has decided both, but its replies are delayed.
            owner.gate = asyncio.Event()
            claim = asyncio.create_task(host.activate(claimed))
            release = asyncio.create_task(host.deactivate(released))
            await asyncio.sleep(0.1)
            owner_gate, owner.gate = owner.gate, None
            for one in (owner, host, other):
                await one.directory.compare()
            assert not claim.done()
            assert not release.done()
            owner_gate.set()
            await asyncio.gather(claim, release)
            assert found(cluster) == RepairCounts()
            cluster.check_registered()

    run(main())


def test_an_activation_that_ends_between_the_two_comparisons_is_no_mismatch() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(third)
            await first.activate(grain_id)
            plant(second, grain_id)
            comparing = asyncio.create_task(second.directory.compare())
            await asyncio.sleep(0.25)
            del second.won[grain_id]
            await comparing
            assert found(cluster) == RepairCounts()

    run(main())


def test_a_comparison_during_which_ranges_move_does_not_count() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(third)
            await first.activate(grain_id)
            plant(second, grain_id)
            cluster.hosts[third.me].gate = asyncio.Event()
            comparing = asyncio.create_task(second.directory.compare())
            await asyncio.sleep(0.1)
            await cluster.join()
            assert third.gate is not None
            third.gate.set()
            await comparing
            assert second.lost == []
            await second.directory.compare()
            assert len(second.lost) == 1

    run(main())


def test_a_comparison_without_mismatch_costs_no_message_locally_and_few_remotely() -> None:
    async def main() -> None:
        async with Cluster(check_page=40, check_limit=80) as cluster:
            first, _ = await cluster.start(2)
            await cluster.quiet()
            cluster.carried.clear()
            await asyncio.sleep(TWO_PERIODS)
            assert cluster.carried == []
            for grain_id in GRAINS:
                if cluster.owner(grain_id) is first:
                    await first.activate(grain_id)
            await asyncio.sleep(TWO_PERIODS)
            assert cluster.carried == []
            for grain_id in GRAINS:
                await first.activate(grain_id)
            cluster.carried.clear()
            await first.directory.compare()
            assert 1 <= [service for *_, service in cluster.carried].count(CHECK) <= 2
            assert PRESENT not in {service for *_, service in cluster.carried}
            assert found(cluster) == RepairCounts()

    run(main())


def test_with_more_activations_than_the_limit_each_one_is_compared_eventually() -> None:
    async def main() -> None:
        async with Cluster(check_page=5, check_limit=20) as cluster:
            first, second = await cluster.start(2)
            await cluster.quiet()
            for grain_id in GRAINS:
                await first.activate(grain_id)
            last = plant(first, cluster.grain(lambda grain: grain not in GRAINS and cluster.owner(grain) is second))
            for number in range(30):
                second.directory.partition.register(second.address(GrainId("pet", str(number))))
            stale = len(second.directory.partition) - len([g for g in GRAINS if cluster.owner(g) is second])
            for _ in range(8):
                await first.directory.compare()
                await second.directory.compare()
            assert found(cluster) == RepairCounts(repaired=1, stale=stale)
            assert last.same_activation(await second.directory.directory.lookup(last.grain_id))

    run(main())


def test_the_entry_of_a_claim_that_timed_out_after_it_was_registered_is_removed() -> None:
    """Even if the owner never learns that the claim timed out."""

    async def main() -> None:
        async with Cluster(claim_timeout=1.0, ask_timeout=0.9, ready_wait=0.5, release_timeout=1.0) as cluster:
            owner, host, other = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            owner.gate = asyncio.Event()
            claim = asyncio.create_task(host.activate(grain_id))
            await asyncio.sleep(0.1)
            cluster.cut.add((host.me, owner.me))
            with pytest.raises(SiloUnavailable):
                await claim
            await asyncio.sleep(2)
            owner.gate.set()
            owner.gate = None
            assert [entry.silo for entry in owner.directory.partition.entries] == [host.me]
            await asyncio.sleep(TWO_PERIODS)
            winner = await other.activate(grain_id)
            assert winner is not None
            assert winner.silo == other.me

    run(main())


def test_a_mismatch_that_differs_in_the_second_comparison_waits_for_the_next_period() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(third)
            await first.activate(grain_id)
            plant(second, grain_id)
            comparing = asyncio.create_task(second.directory.compare())
            await asyncio.sleep(0.25)
            await first.deactivate(grain_id)
            await comparing
            assert found(cluster) == RepairCounts()
            await second.directory.compare()
            assert found(cluster) == RepairCounts(repaired=1)

    run(main())


def test_entries_of_a_dead_silo_are_removed_once_they_are_not_held() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            owner, dead, _ = await cluster.start(3)
            await cluster.quiet()
            await dead.activate(cluster.owned_by(owner))
            cluster.kill(dead)
            cluster.mark_dead(dead)
            await owner.directory.compare()
            assert len(owner.directory.partition) == 1
            await asyncio.sleep(1)
            await owner.directory.compare()
            assert len(owner.directory.partition) == 0
            assert found(cluster) == RepairCounts()

    run(main())
