"""Where calls are sent: by cache, ring, directory and placement. Claims through the runtime's contract."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from grange.directory.slice.messages import LOOKUP, REGISTER, UNREGISTER
from grange.errors import ActivationFailed, NoSuchGrain, SiloUnavailable
from grange.membership.model.member import SiloStatus
from grange.placement.custom import as_strategy
from grange.placement.provider import PlacementContext
from grange.proto.ids import GrainId, SiloAddress
from tests.directory.cluster import Cluster
from tests.directory.virtual_time import run

CART = GrainId("cart", "ann")
DICE = GrainId("dice", "ann")


def test_ring_placed_grains_are_known_at_once_on_every_silo() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            hosts = await cluster.start(3)
            owner = cluster.owner(CART).me
            assert [host.locator.known(CART) for host in hosts] == [owner] * 3
            assert await hosts[0].locator.locate(CART) == owner
            assert not [service for _, _, service in cluster.carried if service == LOOKUP]

    run(main())


def test_ring_placement_skips_silos_that_do_not_host_the_type() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first = await cluster.join({"cart": "ring", "pet": "ring"})
            second = await cluster.join({"cart": "ring"})
            for number in range(50):
                assert second.locator.known(GrainId("pet", str(number))) == first.me

    run(main())


def test_random_placement_spreads_and_a_choice_is_kept() -> None:
    """PLC-01: random placement spreads grains over more than one silo."""

    async def main() -> None:
        async with Cluster() as cluster:
            host, *_ = await cluster.start(3)
            assert host.locator.known(DICE) is None
            chosen = Counter([await host.locator.locate(GrainId("dice", str(number))) for number in range(90)])
            assert len(chosen) == 3
            place = await host.locator.locate(DICE)
            assert [host.locator.known(DICE) for _ in range(10)] == [place] * 10

    run(main())


def test_prefer_local_places_a_new_grain_with_its_caller_and_finds_an_old_one() -> None:
    """PLC-01: prefer-local places a new grain on the calling grain's silo."""

    async def main() -> None:
        async with Cluster() as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            pet = GrainId("pet", "rex")
            assert [await host.locator.locate(GrainId("pet", str(host.me))) for host in hosts] == [h.me for h in hosts]
            await hosts[1].activate(pet)
            assert [await host.locator.locate(pet) for host in hosts] == [hosts[1].me] * 3

    run(main())


def test_a_claim_is_decided_at_once_by_the_owner_of_the_range_only() -> None:
    """ADR 0022. A claim that is not won at once has registered nothing."""

    async def main() -> None:
        async with Cluster() as cluster:
            first, second = await cluster.start(2)
            await cluster.quiet()
            mine, other = (first.address(cluster.owned_by(host, "counter")) for host in (first, second))
            won = first.locator.claim_now(mine)
            assert won is not None
            assert won.same_activation(mine)
            assert won.version == first.directory.topology.version
            assert first.directory.partition.entries == [won]
            assert first.locator.claim_now(first.address(mine.grain_id)) is None
            assert first.directory.partition.entries == [won]
            assert first.locator.claim_now(other) is None
            assert not second.directory.partition.entries

    run(main())


def test_registrations_and_look_ups_fill_the_cache_and_a_release_empties_it_first() -> None:
    """DIR-06: register and look-up fill the cache; unregister removes from it before the directory call ends."""

    async def main() -> None:
        async with Cluster(delay=0.1) as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(third, "dice")
            address = first.address(grain_id)
            address = await first.locator.claim(address)
            assert first.locator.known(grain_id) == first.me
            assert await second.locator.locate(grain_id) == first.me
            assert second.locator.known(grain_id) == first.me
            release = asyncio.create_task(first.locator.release(address))
            await asyncio.sleep(0)
            assert not release.done()
            assert first.locator.known(grain_id) is None
            await release

    run(main())


def test_a_place_cached_during_a_look_up_is_not_overwritten_by_its_answer() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(second, "dice")
            await second.activate(grain_id)
            second.gate = asyncio.Event()
            locating = asyncio.create_task(first.locator.locate(grain_id))
            await asyncio.sleep(0.1)
            first.locator.invalidate(grain_id, second.me, third.me)
            second.gate.set()
            assert await locating == third.me
            assert first.locator.known(grain_id) == third.me

    run(main())


def test_only_a_dead_silos_entries_leave_the_cache() -> None:
    """DIR-07: the dead silo's cached entries disappear, others stay."""

    async def main() -> None:
        async with Cluster() as cluster:
            hosts = await cluster.start(3)
            grains = [GrainId("dice", str(number)) for number in range(30)]
            places = {grain_id: await hosts[0].locator.locate(grain_id) for grain_id in grains}
            cluster.set_status(hosts[1], SiloStatus.LEAVING)
            assert {grain_id: hosts[0].locator.known(grain_id) for grain_id in grains} == places
            cluster.kill(hosts[1])
            cluster.mark_dead(hosts[1])
            assert hosts[1].me in places.values()
            for grain_id, place in places.items():
                assert hosts[0].locator.known(grain_id) == (None if place == hosts[1].me else place)

    run(main())


def test_a_refused_place_is_dropped_and_its_hint_is_cached() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            hosts = await cluster.start(3)
            first, second, third = (host.me for host in hosts)
            locator, grain_id = hosts[0].locator, cluster.owned_by(hosts[0])
            locator.invalidate(grain_id, first, second)
            assert locator.known(grain_id) == second
            locator.invalidate(grain_id, first, third)
            assert locator.known(grain_id) == second, "a place cached after that call was sent stays"
            locator.invalidate(grain_id, second, None)
            assert locator.known(grain_id) == first
            cluster.kill(hosts[2])
            cluster.mark_dead(hosts[2])
            locator.invalidate(DICE, second, third)
            assert locator.known(DICE) is None

    run(main())


def test_an_unknown_type_is_refused_with_the_known_types() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            [host] = await cluster.start(1, {"cart": "ring"})
            with pytest.raises(NoSuchGrain, match=r"'dog'.*cart.*silo:1@1"):
                await host.locator.locate(GrainId("dog", "rex"))
            assert host.locator.known(GrainId("dog", "rex")) is None

    run(main())


def test_without_an_active_silo_nothing_can_be_located() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            [host] = await cluster.start(1)
            cluster.set_status(host, SiloStatus.LEAVING)
            for grain_id in (CART, DICE):
                with pytest.raises(SiloUnavailable, match="no silo is active"):
                    await host.locator.locate(grain_id)

    run(main())


def test_an_unknown_placement_is_named_in_the_error() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            [host] = await cluster.start(1, {"cart": "by_zodiac"})
            with pytest.raises(ActivationFailed, match=r"by_zodiac.*prefer_local"):
                await host.locator.locate(CART)

    run(main())


class Stray:
    """A strategy that chooses a silo that is not a candidate."""

    name = "stray"
    computed = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        return SiloAddress("nowhere", 1, 1)


def test_a_choice_outside_the_candidates_is_an_error_that_names_the_strategy() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            cluster.strategies["stray"] = as_strategy(Stray())
            [host] = await cluster.start(1, {"cart": "stray"})
            with pytest.raises(ActivationFailed, match=r"stray.*none of its candidates"):
                await host.locator.locate(CART)

    run(main())


def test_a_claim_replaces_a_winner_whose_silo_died_before_the_reply_arrived() -> None:
    async def main() -> None:
        async with Cluster(death_hold=0.0) as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(first)
            await third.activate(grain_id)
            first.gate = asyncio.Event()
            claim = asyncio.create_task(second.activate(grain_id))
            await asyncio.sleep(0.1)
            cluster.kill(third)
            cluster.mark_dead(third)
            first.gate.set()
            winner = await claim
            assert winner is not None
            assert winner.silo == second.me
            assert cluster.carried.count((second.me, first.me, REGISTER)) == 2

    run(main())


def test_a_claim_replaces_a_stale_entry_of_its_own_silo() -> None:
    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            first, second = await cluster.start(2)
            await cluster.quiet()
            grain_id = cluster.owned_by(second)
            await first.locator.claim(first.address(grain_id))
            address = first.address(grain_id)
            assert address.same_activation(await first.locator.claim(address))

    run(main())


def test_a_claim_that_is_cancelled_leaves_no_entry() -> None:
    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            first, second = await cluster.start(2)
            await cluster.quiet()
            grain_id = cluster.owned_by(second)
            second.gate = asyncio.Event()
            claim = asyncio.create_task(first.activate(grain_id))
            await asyncio.sleep(0.5)
            assert len(second.directory.partition) == 1
            claim.cancel()
            second.gate.set()
            await asyncio.sleep(0.5)
            assert len(second.directory.partition) == 0

    run(main())


def test_a_release_that_reaches_no_owner_does_not_raise() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second = await cluster.start(2)
            await cluster.quiet()
            grain_id = cluster.owned_by(second)
            await first.activate(grain_id)
            cluster.kill(second)
            await first.deactivate(grain_id)
            assert asyncio.get_running_loop().time() >= cluster.options.release_timeout
            assert (first.me, second.me, UNREGISTER) in cluster.carried

    run(main())


def test_a_claim_that_reaches_no_owner_fails_within_its_bound() -> None:
    async def main() -> None:
        async with Cluster(claim_timeout=4.0) as cluster:
            first, second = await cluster.start(2)
            await cluster.quiet()
            grain_id = cluster.owned_by(second)
            cluster.kill(second)
            with pytest.raises(SiloUnavailable, match=rf"{grain_id}.*{second.me}"):
                await first.activate(grain_id)
            assert asyncio.get_running_loop().time() < 6

    run(main())


def test_changed_ends_with_a_newer_view_or_at_its_time_out() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            [host] = await cluster.start(1)
            loop = asyncio.get_running_loop()
            await host.locator.changed(3.0)
            assert loop.time() == pytest.approx(3.0)
            waiting = asyncio.create_task(host.locator.changed(100.0))
            await asyncio.sleep(0)
            await cluster.join()
            await waiting
            assert loop.time() < 4

    run(main())


@pytest.mark.parametrize("there", [True, False])
def test_a_claim_replaces_an_entry_of_a_leaving_silo_only_if_it_has_no_activation(there: bool) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, leaver = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(first, "dice")
            entry = await leaver.activate(grain_id)
            assert entry is not None
            if not there:
                del leaver.won[grain_id]
            cluster.set_status(leaver, SiloStatus.LEAVING)
            await cluster.quiet()
            winner = await second.activate(grain_id)
            assert winner is not None
            assert winner.silo == (leaver.me if there else second.me)

    run(main())


def test_new_grains_are_not_placed_on_a_silo_that_could_not_be_reached() -> None:
    """For a moment, and if there is another. What every silo computes stays: the others would not find it."""

    async def main() -> None:
        async with Cluster() as cluster:
            host, lost, _ = await cluster.start(3)
            ring_placed = cluster.owned_by(lost)
            host.directory.on_lost(lost.me)
            placed = {await host.locator.locate(GrainId("dice", str(number))) for number in range(60)}
            assert placed == set(cluster.hosts) - {lost.me}
            assert await host.locator.locate(ring_placed) == lost.me
            await asyncio.sleep(3)
            later = {await host.locator.locate(GrainId("dice", f"later {number}")) for number in range(60)}
            assert later == set(cluster.hosts)
            host.locator.invalidate(DICE, lost.me, None, absent=True)
            host.locator.invalidate(CART, lost.me, None, absent=False)
            placed = {await host.locator.locate(GrainId("dice", f"absent {number}")) for number in range(60)}
            assert placed == set(cluster.hosts) - {lost.me}
            for silo in cluster.hosts:
                host.directory.on_lost(silo)
            assert await host.locator.locate(GrainId("dice", "any")) in cluster.hosts

    run(main())
