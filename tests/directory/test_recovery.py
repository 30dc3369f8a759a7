"""A new owner recovers its ranges from the hosts, and the hosts repeat the registrations that it could not learn of."""

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


def test_a_death_loses_no_registration_of_other_silos() -> None:
    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            hosts = await cluster.start(4)
            await cluster.quiet()
            await asyncio.gather(*(hosts[n % 4].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            cluster.kill(hosts[0])
            cluster.mark_dead(hosts[0])
            await cluster.quiet()
            cluster.check_registered()
            assert sum(len(host.directory.partition.entries) for host in hosts[1:]) == 150

    run(main())


def test_a_joining_silo_takes_over_its_ranges_and_no_stale_entry_remains() -> None:
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


def test_the_activations_of_a_leaving_silo_stay_registered() -> None:
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
    """Operations on the range wait within a bound, then fail with the reason. Operations on other ranges go on."""

    async def main() -> None:
        async with Cluster(claim_timeout=5.0) as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            third.gate = asyncio.Event()
            grain_id, other = cluster.owned_by(first), cluster.owned_by(second)
            cluster.kill(first)
            cluster.mark_dead(first)
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


def test_a_request_about_a_recovering_range_is_delayed_and_answered_once_it_is_ready() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third, fourth = await cluster.start(4)
            await cluster.quiet()
            fourth.gate = asyncio.Event()
            cluster.kill(first)
            cluster.mark_dead(first)
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


def test_a_recovery_does_not_wait_for_a_silo_that_dies() -> None:
    async def main() -> None:
        async with Cluster(ask_timeout=1000.0) as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            third.gate = asyncio.Event()
            cluster.kill(first)
            cluster.mark_dead(first)
            await asyncio.sleep(10)
            assert second.directory.partition.not_ready
            cluster.kill(third)
            cluster.mark_dead(third)
            await cluster.quiet()
            assert asyncio.get_running_loop().time() < 20
            assert await second.activate(GRAINS[0]) is not None

    run(main())


def test_a_silo_with_an_older_view_catches_up_before_it_answers_a_recovery() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            third.deaf = True
            cluster.kill(first)
            cluster.mark_dead(first)
            await cluster.quiet()
            assert third.directory.topology.version == cluster.view.version
            assert (second.me, third.me, RECOVER) in cluster.carried

    run(main())


def test_a_registration_in_flight_while_its_range_moves_is_made_again() -> None:
    """The old owner registered it, but its reply is late, and the new owner asked the host meanwhile."""

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
            assert not host.runs(grain_id)
            assert (host.me, new.me, REGISTER) in cluster.carried
            cluster.check_registered()

    run(main())


def test_an_old_owner_refuses_and_the_caller_catches_up() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            old, host, _ = await cluster.start(3)
            await cluster.quiet()
            grain_id = await moving_grain(cluster, old)
            host.deaf = True
            # Otherwise the new owner's request would make the host catch up.
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


def test_an_owner_with_an_older_view_than_its_caller_catches_up_before_it_decides() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            owner, host, dead = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(owner)
            await dead.activate(grain_id)
            owner.deaf = True
            cluster.kill(dead)
            cluster.mark_dead(dead)
            assert owner.directory.topology.version < cluster.view.version
            assert await host.directory.directory.lookup(grain_id) is None

    run(main())


def test_an_owner_that_missed_a_view_recovers_all_its_ranges() -> None:
    """Another silo owned the range for a while. It does not know that it was declared dead, and still accepts claims.

    The owner catches up over both changes in one step, so the two views that it compares show no change.
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
            cluster.mark_dead(brief)
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


def test_two_live_activations_of_one_grain_are_found_and_one_is_ended() -> None:
    """Only a broken cluster gets there. The later registration stays, and the silo of the other one ends it."""

    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            grain_id = cluster.owned_by(third)
            early = msgspec.structs.replace(first.address(grain_id), version=1)
            late = msgspec.structs.replace(second.address(grain_id), version=2)
            first.won[grain_id], second.won[grain_id] = early, late
            cluster.kill(third)
            cluster.mark_dead(third)
            await cluster.quiet()
            assert await cluster.owner(grain_id).directory.directory.lookup(grain_id) == late
            while not first.lost:
                await asyncio.sleep(0.01)
            assert (first.lost, second.lost) == ([early], [])

    run(main())


def test_closing_a_directory_ends_its_recoveries() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            third.gate = asyncio.Event()
            cluster.kill(first)
            cluster.mark_dead(first)
            await asyncio.sleep(0.1)
            assert second.directory.partition.not_ready
            await second.directory.__aexit__(None, None, None)
            third.gate.set()
            await asyncio.sleep(10)
            assert second.directory.partition.not_ready

    run(main())


def test_a_long_recovery_logs_a_warning_that_names_the_silent_silo(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, second, third = await cluster.start(3)
            await cluster.quiet()
            cluster.unanswered = {RECOVER}
            cluster.kill(first)
            cluster.mark_dead(first)
            await asyncio.sleep(7)
            assert alarms() == []
            await asyncio.sleep(53)
            assert 2 <= len([text for text in alarms() if f"silo {third.me} is not declared dead" in text]) <= 10
            assert f"silo {second.me}" in "".join(alarms())
            cluster.unanswered.clear()
            await cluster.quiet()

    def alarms() -> list[str]:
        return [one.getMessage() for one in caplog.records if getattr(one, "event", "") == "range_recovering_long"]

    run(main())
