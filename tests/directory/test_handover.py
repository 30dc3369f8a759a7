"""A range moves while its previous owner is live: it is sealed, fetched and dropped."""

from __future__ import annotations

import asyncio

from grange.directory.slice.messages import RECOVER, REGISTER, TAKE, TAKEN
from grange.membership.model.member import SiloStatus
from grange.proto.ids import GrainId
from tests.directory.cluster import Cluster
from tests.directory.moves import moving_grain
from tests.directory.virtual_time import run

GRAINS = [GrainId("cart", str(number)) for number in range(200)]


def services(cluster: Cluster) -> set[str]:
    """The services that were called since the list was cleared."""
    return {service for _, _, service in cluster.carried}


def test_a_joining_silo_fetches_its_ranges_and_no_host_is_asked() -> None:
    """DIR-11: the previous owner keeps no stale entry and no snapshot."""

    async def main() -> None:
        async with Cluster(transfer_page=7) as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            await asyncio.gather(*(hosts[n % 3].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            cluster.carried.clear()
            late = await cluster.join()
            await cluster.quiet()
            cluster.check_registered()
            assert len(late.directory.partition) > 20
            for host in hosts:
                assert await host.directory.handed_over(5)
            assert services(cluster) == {TAKE, TAKEN}

    run(main())


def test_a_leaving_silo_hands_over_all_its_entries_and_waits_for_that() -> None:
    async def main() -> None:
        async with Cluster(delay=0.05) as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            await asyncio.gather(*(hosts[n % 3].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            had = len(hosts[0].directory.partition)
            cluster.carried.clear()
            cluster.set_status(hosts[0], SiloStatus.LEAVING)
            waiting = asyncio.create_task(hosts[0].directory.handed_over(5))
            await asyncio.sleep(0)
            assert not waiting.done()
            assert await waiting
            assert had > 20
            assert services(cluster) == {TAKE, TAKEN}
            await cluster.quiet()
            cluster.check_registered()

    run(main())


def test_a_leaving_silo_waits_for_the_new_owner_only_within_its_bound() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            first, _ = await cluster.start(2)
            await cluster.quiet()
            cluster.unanswered = {TAKE, TAKEN}
            cluster.set_status(first, SiloStatus.LEAVING)
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert not await first.directory.handed_over(5)
            assert loop.time() - began == 5

    run(main())


def test_the_last_silo_waits_for_no_new_owner() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            [only] = await cluster.start(1)
            await only.activate(GRAINS[0])
            cluster.set_status(only, SiloStatus.LEAVING)
            assert await only.directory.handed_over(5)
            assert asyncio.get_running_loop().time() == 0

    run(main())


def test_an_owner_that_does_not_hand_over_in_time_is_given_up_and_the_hosts_are_asked() -> None:
    """A transfer has a deadline: the range is ready after `transfer_timeout` even if the previous owner is silent."""

    async def main() -> None:
        async with Cluster(transfer_timeout=0.5) as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            await asyncio.gather(*(hosts[n % 3].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            cluster.unanswered = {TAKE}
            began = asyncio.get_running_loop().time()
            late = await cluster.join()
            await asyncio.sleep(0.4)
            assert late.directory.partition.not_ready
            await asyncio.sleep(0.2)
            assert not late.directory.partition.not_ready
            assert asyncio.get_running_loop().time() - began < 1
            assert RECOVER in services(cluster)
            cluster.check_registered()

    run(main())


def test_a_registration_decided_before_the_seal_stands_though_its_reply_is_late() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
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
            other = await rival.activate(grain_id)
            assert other is not None
            assert other.silo == host.me
            gate.set()
            assert await claim == other
            assert host.runs(grain_id)
            assert (host.me, new.me, REGISTER) not in cluster.carried
            cluster.check_registered()

    run(main())


def test_if_the_previous_owner_dies_half_way_the_hosts_are_asked() -> None:
    async def main() -> None:
        async with Cluster(transfer_page=1, delay=0.1, death_hold=0.0) as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            await asyncio.gather(*(hosts[1 + n % 2].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            late = await cluster.join()
            await asyncio.sleep(0.5)
            assert late.directory.partition.not_ready
            cluster.kill(hosts[0])
            cluster.mark_dead(hosts[0])
            await cluster.quiet()
            cluster.check_registered()

    run(main())


def test_a_new_owner_that_dies_half_way_leaves_no_snapshot() -> None:
    async def main() -> None:
        async with Cluster(transfer_page=1, delay=0.1, death_hold=0.0) as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            await asyncio.gather(*(hosts[n % 3].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            late = await cluster.join()
            await asyncio.sleep(0.5)
            assert late.directory.partition.not_ready
            cluster.kill(late)
            cluster.mark_dead(late)
            for host in hosts:
                assert await host.directory.handed_over(2)
            await cluster.quiet()
            cluster.check_registered()

    run(main())


def test_a_snapshot_that_is_not_fetched_is_dropped() -> None:
    async def main() -> None:
        async with Cluster(snapshot_keep=10.0) as cluster:
            first, second = await cluster.start(2)
            await cluster.quiet()
            await asyncio.gather(*(first.activate(grain_id) for grain_id in GRAINS))
            cluster.unanswered = {TAKE, TAKEN}
            await cluster.join()
            await cluster.quiet()
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert not await first.directory.handed_over(5)
            assert await first.directory.handed_over(20)
            assert loop.time() - began <= 10
            assert await second.directory.handed_over(0.1)

    run(main())


def test_an_owner_that_has_not_seen_the_view_catches_up_and_then_hands_over() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            await asyncio.gather(*(hosts[n % 3].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            for host in hosts:
                host.deaf = True
            cluster.carried.clear()
            late = await cluster.join()
            await cluster.quiet()
            assert hosts[0].directory.topology.version == late.directory.topology.version
            assert services(cluster) == {TAKE, TAKEN}
            cluster.check_registered()

    run(main())


def test_a_range_that_leaves_and_returns_brings_the_registrations_made_meanwhile() -> None:
    async def main() -> None:
        async with Cluster(delay=0.02) as cluster:
            old, host, other = await cluster.start(3)
            await cluster.quiet()
            grain_id = await moving_grain(cluster, old)
            first = await host.activate(grain_id)
            brief = await cluster.join()
            await cluster.quiet()
            assert cluster.owner(grain_id) is brief
            await host.deactivate(grain_id)
            second = await other.activate(grain_id)
            cluster.carried.clear()
            cluster.set_status(brief, SiloStatus.LEAVING)
            assert await brief.directory.handed_over(5)
            cluster.kill(brief)
            cluster.mark_dead(brief, by_itself=True)
            await cluster.quiet()
            assert cluster.owner(grain_id) is old
            assert RECOVER not in services(cluster)
            assert first != second == await old.directory.directory.lookup(grain_id)
            cluster.check_registered()

    run(main())


def test_entries_that_the_previous_owner_had_not_fetched_yet_come_from_the_hosts() -> None:
    """Two silos join in a row: the second one gains ranges that the first one is still fetching."""

    async def main() -> None:
        async with Cluster(delay=0.1, transfer_page=1) as cluster:
            hosts = await cluster.start(2)
            await cluster.quiet()
            await asyncio.gather(*(hosts[n % 2].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            first = await cluster.join()
            await asyncio.sleep(0.5)
            assert first.directory.partition.not_ready
            cluster.carried.clear()
            await cluster.join()
            await cluster.quiet()
            assert {TAKE, RECOVER} <= services(cluster)
            cluster.check_registered()

    run(main())


def test_the_new_owner_does_not_wait_for_a_previous_owner_that_dies() -> None:
    async def main() -> None:
        async with Cluster(ask_timeout=1000.0, transfer_timeout=1000.0) as cluster:
            hosts = await cluster.start(3)
            await cluster.quiet()
            await asyncio.gather(*(hosts[1 + n % 2].activate(grain_id) for n, grain_id in enumerate(GRAINS)))
            hosts[0].gate = asyncio.Event()
            late = await cluster.join()
            await asyncio.sleep(5)
            assert late.directory.partition.not_ready
            cluster.kill(hosts[0])
            cluster.mark_dead(hosts[0])
            began = asyncio.get_running_loop().time()
            await cluster.quiet()
            assert asyncio.get_running_loop().time() - began < 1
            cluster.check_registered()

    run(main())
