"""A cordon: new grains are placed elsewhere, old ones stay and answer, and every silo sees it."""

from __future__ import annotations

import asyncio

import msgspec

from grange import Grain
from grange.proto.acts import ACT, Act, Acted, Action, Outcome
from grange.proto.ids import SiloAddress
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster


class Cart(Grain):
    async def place(self) -> str:
        return str(self._grange.deps.address)  # type: ignore[attr-defined]


class Roaming(Grain, placement="random"):
    async def place(self) -> str:
        return str(self._grange.deps.address)  # type: ignore[attr-defined]


def gateway_of(silo: Silo) -> SiloAddress:
    return SiloAddress("127.0.0.1", int(silo.gateway.rpartition(":")[2]), silo.address.generation)


async def act(cluster: TestCluster, silo: Silo, action: Action, expect: str = "") -> Acted:
    question = msgspec.msgpack.encode(Act(action, reason="a test", expect=expect))
    return msgspec.msgpack.decode(await cluster.client.ask(gateway_of(silo), ACT, question), type=Acted)


async def seen(cluster: TestCluster, silo: Silo, cordoned: bool) -> None:
    """Wait until every silo sees it."""
    async with asyncio.timeout(30):
        for each in cluster.silos:
            while (own := each.view.get(silo.address)) is None or own.cordoned != cordoned:
                await asyncio.sleep(0.1)


async def test_new_grains_are_placed_elsewhere_and_old_ones_stay() -> None:
    async with TestCluster([Cart, Roaming], silos=3) as cluster:
        silo = cluster.silos[0]
        old = [cluster.get_grain(kind, f"old-{n}") for kind in (Cart, Roaming) for n in range(30)]
        places = [await grain.place() for grain in old]
        assert (await act(cluster, silo, Action.CORDON)).outcome is Outcome.DONE
        await seen(cluster, silo, True)
        new = [cluster.get_grain(kind, f"new-{n}") for kind in (Cart, Roaming) for n in range(60)]
        assert str(silo.address) not in {await grain.place() for grain in new}
        for each in cluster.silos:  # also for callers inside the cluster, the cordoned silo among them
            mine = [each.get_grain(kind, f"{each.name}-{n}") for kind in (Cart, Roaming) for n in range(20)]
            assert str(silo.address) not in {await grain.place() for grain in mine}
        assert [await grain.place() for grain in old] == places
        assert str(silo.address) in places
        assert (await act(cluster, silo, Action.UNCORDON)).outcome is Outcome.DONE
        await seen(cluster, silo, False)
        later = [cluster.get_grain(Cart, f"later-{n}") for n in range(60)]
        assert str(silo.address) in {await grain.place() for grain in later}


async def test_a_cordon_under_load_fails_no_call() -> None:
    async with TestCluster([Cart], silos=3) as cluster:
        silo = cluster.silos[0]

        async def call(number: int) -> str:
            await asyncio.sleep(number * 0.01)
            return await cluster.get_grain(Cart, str(number)).place()

        calls = [asyncio.create_task(call(number)) for number in range(600)]
        await cluster.advance(2)
        await act(cluster, silo, Action.CORDON)
        await seen(cluster, silo, True)
        placed = await asyncio.gather(*calls)
        assert len(placed) == 600
        assert str(silo.address) not in placed[-100:]


async def test_a_cordon_is_refused_when_what_was_expected_has_changed() -> None:
    async with TestCluster([Cart], silos=2) as cluster:
        silo = cluster.silos[0]
        await act(cluster, silo, Action.CORDON, expect="open")
        await seen(cluster, silo, True)
        assert (await act(cluster, silo, Action.CORDON, expect="open")).outcome is Outcome.REFUSED
        assert (await act(cluster, silo, Action.CORDON)).outcome is Outcome.DONE  # without an expectation: it is so


async def test_calls_go_on_when_every_silo_is_cordoned() -> None:
    async with TestCluster([Cart], silos=2) as cluster:
        for silo in cluster.silos:
            await act(cluster, silo, Action.CORDON)
            await seen(cluster, silo, True)
        assert {await cluster.get_grain(Cart, str(n)).place() for n in range(40)} == {
            str(silo.address) for silo in cluster.silos
        }


async def test_a_cordon_survives_other_silos_and_ends_with_a_restart() -> None:
    async with TestCluster([Cart], silos=3) as cluster:
        silo, other, _ = cluster.silos
        await act(cluster, silo, Action.CORDON)
        await seen(cluster, silo, True)
        await cluster.kill(other)
        await cluster.add_silo()
        await seen(cluster, silo, True)
        again = await cluster.restart(silo)
        await seen(cluster, again, False)
        assert str(again.address) in {await cluster.get_grain(Cart, f"late-{n}").place() for n in range(60)}


async def test_an_operator_declares_a_silo_dead_by_the_membership_protocol() -> None:
    """Its grains answer elsewhere, and the silo learns that it is dead."""
    async with TestCluster([Cart], silos=3, actions=["*"]) as cluster:
        one, other, _ = cluster.silos
        question = Act(Action.DECLARE_DEAD, other.name, reason="its machine burns")
        answer = await cluster.client.ask(gateway_of(one), ACT, msgspec.msgpack.encode(question))
        assert msgspec.msgpack.decode(answer, type=Acted).outcome is Outcome.DONE
        assert "must end" in str(await other.declared_dead())
        row = one.view.get(other.address)
        assert row is not None
        assert row.voted_dead
        await cluster.kill(other)
        await cluster.stable()
        assert str(other.address) not in {await cluster.get_grain(Cart, str(n)).place() for n in range(40)}
