"""The contract of the directory, called on the owner's silo and on another one."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import SiloUnavailable
from grange.membership.model.member import SiloStatus
from grange.proto.ids import GrainId
from tests.directory.cluster import Cluster, Host
from tests.directory.virtual_time import run


@pytest.mark.parametrize("local", [True, False], ids=["called by the owner", "called by another silo"])
def test_register_look_up_unregister(local: bool) -> None:
    """DIR-01: register, look-up, unregister, look-up; an unknown grain has no entry."""

    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            caller, grain_id = await two_silos(cluster, local)
            directory = caller.directory.directory
            address = caller.address(grain_id)
            assert await directory.lookup(grain_id) is None
            assert (await directory.register(address)).same_activation(address)
            found = await directory.lookup(grain_id)
            assert found is not None
            assert found.same_activation(address)
            assert found.version == cluster.view.version
            await directory.unregister(address)
            assert await directory.lookup(grain_id) is None
            assert await directory.lookup(GrainId("cart", "unknown")) is None

    run(main())


@pytest.mark.parametrize("local", [True, False], ids=["called by the owner", "called by another silo"])
def test_an_entry_is_not_overwritten(local: bool) -> None:
    """DIR-02: register of another activation, on the same or another silo, returns the existing address."""

    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            caller, grain_id = await two_silos(cluster, local)
            directory = caller.directory.directory
            first = await directory.register(caller.address(grain_id))
            for host in cluster.hosts.values():
                assert await directory.register(host.address(grain_id)) == first
            assert await directory.lookup(grain_id) == first

    run(main())


@pytest.mark.parametrize("local", [True, False], ids=["called by the owner", "called by another silo"])
def test_an_entry_equal_to_previous_is_replaced(local: bool) -> None:
    """DIR-03: register replaces the entry if `previous` equals it, and keeps it otherwise."""

    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            caller, grain_id = await two_silos(cluster, local)
            directory = caller.directory.directory
            first, second, third = (caller.address(grain_id) for _ in range(3))
            await directory.register(first)
            assert (await directory.register(third, second)).same_activation(first)
            assert (await directory.register(second, first)).same_activation(second)
            found = await directory.lookup(grain_id)
            assert second.same_activation(found)

    run(main())


@pytest.mark.parametrize("local", [True, False], ids=["called by the owner", "called by another silo"])
def test_unregister_of_another_activation_changes_nothing(local: bool) -> None:
    """DIR-04: unregister with a different activation id leaves the entry."""

    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            caller, grain_id = await two_silos(cluster, local)
            directory = caller.directory.directory
            first = await directory.register(caller.address(grain_id))
            await directory.unregister(caller.address(grain_id))
            assert await directory.lookup(grain_id) == first

    run(main())


def test_the_owners_own_claims_never_suspend() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            [host] = await cluster.start(1)
            address = host.address(GrainId("cart", "ann"))
            claim = host.locator.claim(address)
            with pytest.raises(StopIteration) as done:
                claim.send(None)
            assert address.same_activation(done.value.value)
            release = host.locator.release(address)
            with pytest.raises(StopIteration):
                release.send(None)
            assert len(host.directory.partition) == 0

    run(main())


def test_of_concurrent_claims_from_three_silos_one_wins() -> None:
    async def main(seed: int) -> None:
        async with Cluster(seed, delay=0.05) as cluster:
            hosts = await cluster.start(3)
            grains = [GrainId("cart", str(number)) for number in range(30)]
            claims = (host.activate(grain_id) for grain_id in grains for host in hosts)
            winners = await asyncio.gather(*claims)
            for grain_id in grains:
                of_grain = {winner for winner in winners if winner is not None and winner.grain_id == grain_id}
                assert len(of_grain) == 1
            await cluster.quiet()
            cluster.check_registered()

    for seed in range(5):
        run(main(seed))


def test_a_joining_silo_may_not_register_until_it_is_active() -> None:
    async def main() -> None:
        async with Cluster(delay=0.01) as cluster:
            await cluster.start(1)
            late = await cluster.join(activate=False)
            grain_id = GrainId("cart", "ann")
            claim = asyncio.create_task(late.activate(grain_id))
            await asyncio.sleep(1)
            assert not claim.done()
            assert all(len(host.directory.partition) == 0 for host in cluster.hosts.values())
            cluster.set_status(late, SiloStatus.ACTIVE)
            winner = await claim
            assert winner is not None
            assert winner.silo == late.me

    run(main())


def test_the_last_silo_to_leave_does_not_wait(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            [host] = await cluster.start(1)
            await host.activate(GrainId("cart", "ann"))
            cluster.set_status(host, SiloStatus.LEAVING)
            await host.deactivate(GrainId("cart", "ann"))
            with pytest.raises(SiloUnavailable, match="no silo is active"):
                await host.activate(GrainId("cart", "bob"))
            assert asyncio.get_running_loop().time() == 0
            assert caplog.records == []

    run(main())


async def two_silos(cluster: Cluster, local: bool) -> tuple[Host, GrainId]:
    """One of two silos, and a grain whose range it owns if `local`, else the other silo."""
    caller, other = await cluster.start(2)
    await cluster.quiet()
    return caller, cluster.owned_by(caller if local else other)
