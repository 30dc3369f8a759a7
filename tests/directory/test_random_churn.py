"""Seeded churn: silos join, leave, die, and run on for a while after they were declared dead. Ranges are handed over
or recovered, and hosts claim and release. Every delay is random.

At every win, no other silo may run the grain, zombies included. At every quiet point, each running activation is
registered exactly once, at its owner. The test's id names the seed, which replays a failure.
"""

from __future__ import annotations

import asyncio

import pytest

from grange.directory.slice.messages import RECOVER, TAKE, TAKEN
from grange.errors import SiloUnavailable
from grange.membership.model.member import SiloStatus
from grange.proto.ids import GrainId
from tests.directory.cluster import Cluster, Host
from tests.directory.virtual_time import run

GRAINS = [GrainId(type, str(number)) for number in range(12) for type in ("cart", "dice")]


@pytest.mark.parametrize("seed", range(20))
def test_each_grain_runs_once_and_is_registered_at_its_owner(seed: int) -> None:
    async def main() -> None:
        async with Cluster(seed, delay=0.2) as cluster:
            await churn(cluster)

    run(main())


@pytest.mark.parametrize("seed", range(100, 110))
def test_also_when_answers_are_lost(seed: int) -> None:
    async def main() -> None:
        async with Cluster(seed, delay=0.2, loss=0.1) as cluster:
            await churn(cluster, strict=False)

    run(main())


@pytest.mark.parametrize("seed", range(200, 205))
def test_also_when_answers_come_in_pages(seed: int) -> None:
    async def main() -> None:
        async with Cluster(seed, delay=0.2, recover_page=2, scan_chunk=3, transfer_page=1) as cluster:
            await churn(cluster)

    run(main())


@pytest.mark.parametrize("seed", range(300, 308))
def test_also_when_half_of_the_hand_overs_are_given_up(seed: int) -> None:
    """A deadline that is about as long as a page takes."""

    async def main() -> None:
        async with Cluster(seed, delay=0.2, transfer_page=1, transfer_timeout=0.3, snapshot_keep=1.0) as cluster:
            await churn(cluster)
            services = {service for _, _, service in cluster.carried}
            assert {TAKE, TAKEN, RECOVER} <= services

    run(main())


@pytest.mark.parametrize("seed", range(400, 408))
def test_the_effects_of_lost_answers_are_repaired_during_churn(seed: int) -> None:
    """The consistency checker runs all the time. It finds no false duplicate, and repairs lost registrations."""

    async def main() -> None:
        async with Cluster(seed, delay=0.2, loss=0.1, check_period=1.0, check_page=3) as cluster:
            await churn(cluster, strict=False)
            cluster.loss = 0.0
            await asyncio.sleep(5)
            await cluster.quiet()
            cluster.check_registered()
            for host in cluster.hosts.values():
                assert host.directory.repairs.duplicates == 0
                assert host.lost == []

    run(main())


async def churn(cluster: Cluster, strict: bool = True) -> None:
    """Four rounds of concurrent claims, releases and changes of the cluster. Each round ends at a quiet point."""
    await cluster.start(3)
    doomed: set[Host] = set()
    for _ in range(4):
        work = [cluster.tasks.start(use(cluster)) for _ in range(12)]
        for _ in range(3):
            await asyncio.sleep(cluster.random.random() * 0.4)
            work.append(cluster.tasks.start(change(cluster, doomed)))
        await asyncio.gather(*work)
        await cluster.quiet()
        cluster.check_registered(strict)


async def use(cluster: Cluster) -> None:
    """Random claims and releases on random silos, for 1.5 s."""
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.5
    while loop.time() < until:
        await asyncio.sleep(cluster.random.random() * 0.1)
        host = cluster.random.choice(list(cluster.hosts.values()))
        grain_id = cluster.random.choice(GRAINS)
        if cluster.random.random() < 0.4:
            await host.deactivate(grain_id)
        elif active(cluster, host):
            try:
                await host.activate(grain_id)
            except SiloUnavailable:
                assert host.me not in cluster.hosts or not active(cluster, host)


async def change(cluster: Cluster, doomed: set[Host], kind: str = "") -> None:
    """One change of the cluster, which keeps at least two active silos."""
    running = [host for host in cluster.hosts.values() if active(cluster, host) and host not in doomed]
    kind = kind or cluster.random.choice(
        ["join", "kill", "leave", "brief", "zombie", "twice"] if len(running) > 2 else ["join"]
    )
    cluster.suspect(cluster.random.choice(running))
    if kind == "twice":
        await asyncio.gather(change(cluster, doomed, "join"), change(cluster, doomed, "brief"))
        return
    if kind in {"join", "brief"}:
        host = await cluster.join(activate=False)
        doomed.add(host)
        await asyncio.sleep(cluster.random.random() * 0.1)
        cluster.set_status(host, SiloStatus.ACTIVE)
        doomed.discard(host)
    else:
        host = cluster.random.choice(running)
    if kind != "join":
        doomed.add(host)
    await asyncio.sleep(cluster.random.random() * 0.3 if kind == "brief" else 0)
    if kind == "kill":
        cluster.kill(host)
        await asyncio.sleep(cluster.random.random() * 0.5)
        cluster.mark_dead(host)
    elif kind == "zombie":
        # A zombie: it is declared dead, does not learn of it, and runs on for a while.
        host.deaf, host.table_gate = True, asyncio.Event()
        cluster.mark_dead(host)
        await asyncio.sleep(cluster.random.random() * 0.9)
        cluster.kill(host)
    elif kind in {"leave", "brief"}:
        cluster.set_status(host, SiloStatus.LEAVING)
        await asyncio.gather(*(host.deactivate(grain_id) for grain_id in list(host.won)))
        while host.claiming or host.releasing or host.won:
            await asyncio.sleep(0.05)
            await asyncio.gather(*(host.deactivate(grain_id) for grain_id in list(host.won)))
        await host.directory.handed_over(5)
        cluster.kill(host)
        cluster.mark_dead(host, by_itself=True)


def active(cluster: Cluster, host: Host) -> bool:
    """Whether the table shows this silo as active."""
    member = cluster.view.get(host.me)
    return member is not None and member.status is SiloStatus.ACTIVE
