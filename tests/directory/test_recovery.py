"""Ranges change hands: what a new owner learns, what it waits for, and what hosts do again."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from grange.directory.slice.messages import RECOVER, REGISTER, TAKE
from grange.errors import SiloUnavailable
from grange.membership.model.member import SiloStatus
from grange.proto.ids import GrainId, SiloAddress
from tests.directory.cluster import Cluster
from tests.directory.moves import moving_grain
from tests.directory.virtual_time import run

GRAINS = [GrainId("cart", str(number)) for number in range(200)]


def test_a_death_loses_no_registration_of_the_others() -> None:
    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            hosts = await cluster.start(4)
            await cluster.quiet()
            await asyncio.gather(*(hosts[n % 4].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            cluster.kill(hosts[0])
            cluster.bury(hosts[0])
            await cluster.quiet()
            cluster.check_registered()
            assert sum(len(host.directory.partition.entries) for host in hosts[1:]) == 150

    run(main())


def test_a_joining_silo_takes_over_and_nothing_stale_stays_behind() -> None:
    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            [first] = await cluster.start(1)
            await asyncio.gather(*(first.activate(grain_id) for grain_id in GRAINS))
            late = await cluster.join()
            await cluster.quiet()
            cluster.check_registered()
            assert len(late.directory.partition) > 50

    run(main())


def test_the_first_silo_is_ready_at_once() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            [host] = await cluster.start(1)
            assert not host.directory.partition.not_ready
            assert cluster.carried == []

    run(main())


def test_what_a_leaving_silo_runs_stays_registered() -> None:
    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            await asyncio.gather(*(hosts[0].activate(grain_id) for grain_id in GRAINS))
            cluster.set_status(hosts[0], SiloStatus.LEAVING)
            await cluster.quiet()
            cluster.check_registered()
            assert len(hosts[0].directory.partition) == 0
            assert sum(len(host.directory.partition) for host in hosts[1:]) == len(GRAINS)

    run(main())


def test_a_range_is_not_ready_until_every_silo_has_answered() -> None:
    """Operations on it wait within a bound, then fail with an error that says so; others go on."""

    async def main() -> None:
        async with Cluster(claim_timeout=5.0) as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            third.gate = asyncio.Event()
            grain_id, other = cluster.owned_by(first), cluster.owned_by(second)
            cluster.kill(first)
            cluster.bury(first)
            await asyncio.sleep(0.1)
            owner = cluster.owner(grain_id)
            claim = asyncio.create_task(owner.activate(grain_id))
            await asyncio.sleep(1)
            assert not claim.done()
            with pytest.raises(SiloUnavailable, match="being recovered"):
                await claim
            assert await second.activate(other) is not None
            third.gate.set()
            await cluster.quiet()
            assert await owner.activate(grain_id) is not None

    run(main())


def test_a_question_about_a_range_that_is_recovered_is_held_back_and_answered_the_moment_it_is_ready() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third, fourth = await cluster.start(4)
            await cluster.quiet()
            fourth.gate = asyncio.Event()
            cluster.kill(first)
            cluster.bury(first)
            await asyncio.sleep(0.1)
            grain_id = cluster.grain(lambda grain: grain.ring_hash in second.directory.partition.not_ready)
            mine, asked = second.address(grain_id), third.address(grain_id)
            local = asyncio.create_task(second.locator.claim(mine))
            remote = asyncio.create_task(third.locator.claim(asked))
            await asyncio.sleep(1.0)
            assert not local.done()
            assert not remote.done()
            assert cluster.carried.count((third.me, second.me, REGISTER)) == 1
            fourth.gate.set()
            opened = asyncio.get_running_loop().time()
            assert await local == await remote
            assert asyncio.get_running_loop().time() == opened

    run(main())


def test_an_asked_silo_that_dies_is_not_waited_for() -> None:
    async def main() -> None:
        async with Cluster(ask_timeout=1000.0) as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            third.gate = asyncio.Event()
            cluster.kill(first)
            cluster.bury(first)
            await asyncio.sleep(10)
            assert second.directory.partition.not_ready
            cluster.kill(third)
            cluster.bury(third)
            await cluster.quiet()
            assert asyncio.get_running_loop().time() < 20
            assert await second.activate(GRAINS[0]) is not None

    run(main())


def test_an_asked_silo_that_is_behind_catches_up_before_it_answers() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            third.deaf = True
            cluster.kill(first)
            cluster.bury(first)
            await cluster.quiet()
            assert third.directory.topology.version == cluster.view.version
            assert (second.me, third.me, RECOVER) in cluster.carried

    run(main())


def test_a_registration_in_flight_while_its_range_moves_is_made_again() -> None:
    """The old owner accepted it, but its reply is late, and the new owner has asked the host meanwhile."""

    async def main() -> None:
        async with Cluster() as cluster:
            cluster.unanswered = {TAKE}
            old, host, rival = await cluster.start(3)
            await cluster.quiet()
            grain_id = await moving_grain(cluster, old)
            old.gate = asyncio.Event()
            claim = asyncio.create_task(host.activate(grain_id))
            while len(old.directory.partition) == 0:
                await asyncio.sleep(0)
            gate, old.gate = old.gate, None
            new = await cluster.join()
            await cluster.quiet_but(host)
            assert cluster.owner(grain_id) is new
            assert not claim.done()
            other = await rival.activate(grain_id)
            assert other is not None
            assert other.silo == rival.me
            gate.set()
            winner = await claim
            assert winner == other
            assert not host.believes(grain_id)
            assert (host.me, new.me, REGISTER) in cluster.carried
            cluster.check_registered()

    run(main())


def test_an_old_owner_refuses_and_the_asker_catches_up() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            old, host, _ = await cluster.start(3)
            await cluster.quiet()
            grain_id = await moving_grain(cluster, old)
            host.deaf = True
            # Or the new owner's own question would make the host catch up.
            cluster.cut = {(silo, host.me) for silo in [*cluster.hosts, SiloAddress("silo", 4, 1)]}
            new = await cluster.join()
            assert cluster.owner(grain_id) is new
            behind = host.directory.topology.version
            claim = asyncio.create_task(host.activate(grain_id))
            await asyncio.sleep(1)
            assert behind < host.directory.topology.version == cluster.view.version
            assert len(old.directory.partition) == 0
            cluster.cut.clear()
            winner = await claim
            assert winner is not None
            assert winner.silo == host.me
            assert cluster.carried.count((host.me, old.me, REGISTER)) == 1
            await cluster.quiet()
            cluster.check_registered()

    run(main())


def test_an_owner_that_is_behind_its_asker_catches_up_before_it_decides() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            owner, host, dead = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            await dead.activate(grain_id)
            owner.deaf = True
            cluster.kill(dead)
            cluster.bury(dead)
            assert owner.directory.topology.version < cluster.view.version
            assert await host.directory.directory.lookup(grain_id) is None

    run(main())


def test_an_owner_that_missed_a_view_recovers_everything() -> None:
    """Its range was another's for a while, who does not know that it was declared dead, and still accepts claims.

    The owner catches up over both changes in one step, so the range looks as if it had never left.
    """

    async def main() -> None:
        async with Cluster() as cluster:
            owner, host, rival = await cluster.start(3)
            await cluster.quiet()
            grain_id = await moving_grain(cluster, owner)
            owner.deaf, owner.table_gate = True, asyncio.Event()
            brief = await cluster.join()
            brief.deaf = rival.deaf = True
            await asyncio.sleep(0.1)
            early = asyncio.create_task(rival.activate(grain_id))
            await asyncio.sleep(0.1)
            cluster.bury(brief)
            owner.table_gate.set()
            await early
            assert (rival.me, brief.me, REGISTER) in cluster.carried
            await host.activate(grain_id)
            cluster.check_single(grain_id)
            cluster.kill(brief)
            owner.deaf = rival.deaf = False
            await cluster.join()
            await cluster.quiet()
            cluster.check_registered()

    run(main())


def test_two_live_activations_of_one_grain_are_found_and_one_is_dropped() -> None:
    """It takes a broken cluster to get there; the later registration stays, and the other's silo is told."""

    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(third)
            early = msgspec.structs.replace(first.address(grain_id), version=1)
            late = msgspec.structs.replace(second.address(grain_id), version=2)
            first.won[grain_id], second.won[grain_id] = early, late
            cluster.kill(third)
            cluster.bury(third)
            await cluster.quiet()
            assert await cluster.owner(grain_id).directory.directory.lookup(grain_id) == late
            while not first.lost:
                await asyncio.sleep(0.01)
            assert (first.lost, second.lost) == ([early], [])

    run(main())


def test_at_its_end_a_silo_leaves_no_recovery_behind() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            third.gate = asyncio.Event()
            cluster.kill(first)
            cluster.bury(first)
            await asyncio.sleep(0.1)
            assert second.directory.partition.not_ready
            await second.directory.__aexit__(None, None, None)
            third.gate.set()
            await asyncio.sleep(10)
            assert second.directory.partition.not_ready

    run(main())


def test_a_range_that_stays_closed_is_an_alarm_that_names_the_silo(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            cluster.unanswered = {RECOVER}
            cluster.kill(first)
            cluster.bury(first)
            await asyncio.sleep(7)
            assert alarms() == []
            await asyncio.sleep(53)
            assert 2 <= len([text for text in alarms() if f"silo {third.me} is not declared dead" in text]) <= 6
            assert f"silo {second.me}" in "".join(alarms())
            cluster.unanswered.clear()
            await cluster.quiet()

    def alarms() -> list[str]:
        return [one.getMessage() for one in caplog.records if getattr(one, "event", "") == "range_recovering_long"]

    run(main())
