"""After an abrupt death, the grains that the dead silo may still run are held."""

from __future__ import annotations

import asyncio

import pytest

from grange.directory.slice.messages import REGISTER, TAKE
from grange.errors import SiloUnavailable
from grange.membership.model.member import SiloStatus
from grange.proto.ids import GrainId, SiloAddress
from tests.directory.cluster import Cluster, Host
from tests.directory.virtual_time import run

GRAINS = [GrainId("cart", str(number)) for number in range(60)]


def now() -> float:
    return asyncio.get_running_loop().time()


async def lookup(host: Host, grain_id: GrainId) -> SiloAddress | None:
    entry = await host.directory.directory.lookup(grain_id)
    return None if entry is None else entry.silo


def test_a_dead_silos_grain_cannot_be_registered_until_the_hold_has_passed() -> None:
    """DIR-09: no registration and no look-up during the hold; afterwards a survivor registers."""

    async def main() -> None:
        async with Cluster() as cluster:
            owner, other, dead = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            await dead.activate(grain_id)
            cluster.kill(dead)
            cluster.mark_dead(dead)
            died = now()
            claims = [asyncio.create_task(host.activate(grain_id)) for host in (owner, other)]
            await asyncio.sleep(0.9)
            assert not any(claim.done() for claim in claims)
            assert await lookup(other, grain_id) is None
            winners = await asyncio.gather(*claims)
            assert 1.0 <= now() - died < 1.1
            assert winners[0] == winners[1]
            await cluster.quiet()
            cluster.check_registered()

    run(main())


@pytest.mark.parametrize(("hold", "seconds"), [(2.5, 2.5), (0.0, 0.0), (None, 1.0)])
def test_the_hold_is_as_long_as_the_evidence_of_the_death_requires(hold: float | None, seconds: float) -> None:
    """DIR-09: a silo that only refused connections may live until it has fenced itself; a process that is gone not."""

    async def main() -> None:
        async with Cluster() as cluster:
            owner, other, dead = await cluster.start(3)
            await cluster.quiet()
            of_live_owner, of_dead_owner = cluster.owned_by(owner), cluster.owned_by(dead)
            await dead.activate(of_live_owner)
            cluster.kill(dead)
            cluster.mark_dead(dead, hold=hold)
            died = now()
            for grain_id in (of_live_owner, of_dead_owner):
                await other.activate(grain_id)
                assert seconds <= now() - died < seconds + 0.3
            await cluster.quiet()
            cluster.check_registered()

    run(main())


def test_in_a_dead_owners_range_live_grains_answer_at_once_and_absent_ones_are_held() -> None:
    """DIR-09, for a range: the dead owner may have registered grains of its own there."""

    async def main() -> None:
        async with Cluster() as cluster:
            host, other, dead = await cluster.start(3)
            await cluster.quiet()
            known = cluster.owned_by(dead)
            absent = cluster.grain(lambda grain: grain != known and cluster.owner(grain) is dead)
            free = cluster.owned_by(host)
            await host.activate(known)
            cluster.kill(dead)
            cluster.mark_dead(dead)
            died = now()
            await cluster.quiet()
            assert await lookup(other, known) == host.me
            assert await other.activate(known) == host.won[known]
            await other.activate(free)
            assert now() - died < 0.1
            assert await lookup(other, absent) is None
            await other.activate(absent)
            assert 1.0 <= now() - died < 1.1

    run(main())


def test_a_graceful_stop_holds_nothing() -> None:
    """DIR-10: the silo left first and wrote its own death."""

    async def main() -> None:
        async with Cluster() as cluster:
            owner, other, leaver = await cluster.start(3)
            await cluster.quiet()
            grain_id, its_own = cluster.owned_by(owner), cluster.owned_by(leaver)
            cluster.set_status(leaver, SiloStatus.LEAVING)
            await leaver.directory.handed_over(5)
            cluster.kill(leaver)
            cluster.mark_dead(leaver, by_itself=True)
            began = now()
            await other.activate(grain_id)
            await other.activate(its_own)
            assert now() == began

    run(main())


def test_the_grains_of_a_silo_that_is_declared_dead_while_it_leaves_are_held() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            owner, other, leaver = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            await leaver.activate(grain_id)
            cluster.set_status(leaver, SiloStatus.LEAVING)
            cluster.kill(leaver)
            cluster.mark_dead(leaver)
            died = now()
            await other.activate(grain_id)
            assert now() - died >= 1.0

    run(main())


def test_the_first_silos_of_a_cluster_hold_nothing() -> None:
    """DIR-10: also if the table is full of rows of silos that were voted dead before."""

    async def main() -> None:
        async with Cluster() as cluster:
            old = await cluster.start(2)
            for host in old:
                cluster.kill(host)
            for host in old:
                cluster.mark_dead(host)
            began = now()
            first, second = await cluster.start(2)
            await first.activate(GRAINS[0])
            await second.activate(GRAINS[1])
            assert now() - began < 0.1

    run(main())


def test_the_grains_of_a_silo_that_was_superseded_at_its_endpoint_are_not_held() -> None:
    """DIR-10: the newer generation proves that the older process is gone."""

    async def main() -> None:
        async with Cluster() as cluster:
            owner, other, killed = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            await killed.activate(grain_id)
            cluster.kill(killed)
            cluster.set_status(killed, SiloStatus.ACTIVE, cluster.vote_of(owner))
            began = now()
            cluster.replace(killed)
            assert owner.directory.topology.is_superseded(killed.me)
            await other.activate(grain_id)
            assert now() == began

    run(main())


def test_no_hold_when_it_is_switched_off() -> None:
    """DIR-10: see the name."""

    async def main() -> None:
        async with Cluster(death_hold=0.0) as cluster:
            owner, other, dead = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            await dead.activate(grain_id)
            cluster.kill(dead)
            cluster.mark_dead(dead)
            died = now()
            await other.activate(grain_id)
            assert now() - died < 0.1

    run(main())


@pytest.mark.parametrize("from_afar", [False, True])
def test_a_registration_that_is_cancelled_while_it_is_held_leaves_no_entry(from_afar: bool) -> None:
    """DIR-10: see the name."""

    async def main() -> None:
        async with Cluster() as cluster:
            owner, other, dead = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            await dead.activate(grain_id)
            cluster.kill(dead)
            cluster.mark_dead(dead)
            claim = asyncio.create_task((other if from_afar else owner).activate(grain_id))
            await asyncio.sleep(0.5)
            claim.cancel()
            await asyncio.sleep(5)
            assert claim.cancelled()
            assert owner.directory.partition.entries == []

    run(main())


def test_a_claim_waits_for_the_hold_of_its_own_silo_only() -> None:
    """The owner of the range has learned of the first death later than the claimant, and of a second one since."""

    async def main() -> None:
        async with Cluster() as cluster:
            owner, other, first, second = await cluster.start(4)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            await first.activate(grain_id)
            owner.deaf, owner.table_gate = True, asyncio.Event()
            cluster.kill(first)
            cluster.mark_dead(first)
            await asyncio.sleep(0.3)
            owner.table_gate.set()
            began = now()
            claim = asyncio.create_task(other.activate(grain_id))
            await asyncio.sleep(0.5)
            owner.deaf = False
            cluster.kill(second)
            cluster.mark_dead(second)
            await claim
            assert 1.0 <= now() - began <= 1.05

    run(main())


def test_a_claim_that_times_out_during_a_hold_names_the_reason() -> None:
    async def main() -> None:
        async with Cluster(death_hold=60.0, claim_timeout=2.0) as cluster:
            owner, other, dead = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            await dead.activate(grain_id)
            cluster.kill(dead)
            cluster.mark_dead(dead)
            cluster.carried.clear()
            with pytest.raises(SiloUnavailable, match="has just died may still run it"):
                await other.activate(grain_id)
            assert [service for *_, service in cluster.carried].count(REGISTER) <= 3

    run(main())


@pytest.mark.parametrize("cut", [set[str](), {TAKE}])
def test_a_silo_that_joins_after_the_death_learns_of_the_hold(cut: set[str]) -> None:
    """It learns of it with the snapshot, or from the hosts that it asks."""

    async def main() -> None:
        async with Cluster(transfer_timeout=0.1) as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            dead = hosts[2]
            await asyncio.gather(*(dead.activate(grain_id) for grain_id in GRAINS))
            cluster.kill(dead)
            cluster.mark_dead(dead)
            died = now()
            await asyncio.sleep(0.1)
            cluster.unanswered = cut
            late = await cluster.join()
            mine = [grain_id for grain_id in GRAINS if cluster.owner(grain_id) is late]
            assert mine
            await asyncio.gather(*(late.activate(grain_id) for grain_id in mine))
            assert 1.0 <= now() - died < 1.3

    run(main())
