"""An activation moves to another silo with what it carries, and is never active twice (MIG)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from grange import (
    ConfigurationError,
    DeactivationCode,
    DeactivationReason,
    Grain,
    PersistentState,
    SiloAddress,
    placement_hint,
)
from grange.silo.silo import Silo
from grange.testing import TestCluster


@dataclass
class Total:
    value: int = 0


class Basket(Grain, name="basket", placement="random"):
    """Keeps its items in memory only."""

    def __init__(self) -> None:
        self.items: list[str] = []

    async def add(self, item: str) -> list[str]:
        self.items.append(item)
        return self.items

    async def add_slowly(self, item: str) -> list[str]:
        await asyncio.sleep(1.0)
        return await self.add(item)

    async def move(self, host: str, port: int, generation: int) -> str:
        self.migrate_when_idle(SiloAddress(host, port, generation))
        return self.activation_id

    async def move_away(self) -> None:
        self.migrate_when_idle()

    async def dehydrate(self) -> list[str]:
        return self.items

    async def rehydrate(self, memory: list[str]) -> None:
        self.items = memory


class Account(Grain, name="account", placement="random"):
    """Keeps its total in a state, and carries nothing."""

    def __init__(self, total: PersistentState[Total]) -> None:
        self.total = total

    async def deposit(self, amount: int) -> int:
        self.total.value.value += amount
        await self.total.write()
        return self.total.value.value

    async def move(self, host: str, port: int, generation: int) -> None:
        self.migrate_when_idle(SiloAddress(host, port, generation))


class Leaver(Basket, name="leaver", placement="random"):
    """Moves when it is told to end, and keeps the reasons."""

    reasons: list[DeactivationReason] = []

    async def end(self) -> None:
        self.deactivate_when_idle()

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        Leaver.reasons.append(reason)
        if reason.code is DeactivationCode.REQUESTED:
            self.migrate_when_idle()


class Broken(Basket, name="broken", placement="random"):
    async def rehydrate(self, memory: list[str]) -> None:
        raise LookupError("cannot rehydrate")


class Heavy(Basket, name="heavy", placement="random"):
    async def dehydrate(self) -> list[str]:
        return ["x" * 3000]


class Pinned(Grain, name="pinned", placement="random", migratable=False):
    async def move_away(self) -> str:
        try:
            self.migrate_when_idle()
        except RuntimeError as error:
            return str(error)
        return ""


def other(cluster: TestCluster, reference: Any) -> Silo:
    """A silo that does not host this grain."""
    here = cluster.where(reference)
    return next(silo for silo in cluster.silos if silo is not here)


def parts(silo: Silo) -> tuple[str, int, int]:
    return silo.address.host, silo.address.port, silo.address.generation


async def test_an_activation_moves_to_the_silo_that_it_names_with_its_memory() -> None:
    """MIG-01: in 100 rounds, the next calls reach a new activation on the target, with the memory kept."""
    async with TestCluster([Basket], silos=3) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("0")
        for round in range(1, 101):
            target = other(cluster, basket)
            before = await basket.move(*parts(target))
            assert await basket.add(str(round)) == [str(number) for number in range(round + 1)]
            assert cluster.where(basket) is target
            activation = cluster.activation(basket)
            assert activation is not None
            assert f"{activation.activation_id:032x}" != before
            assert cluster.count(Basket) == 1
        figures = [silo.inspection.figures.snapshot().types[0] for silo in cluster.silos]
        assert sum(each.moved for each in figures) == 100
        assert sum(each.moves_failed for each in figures) == 0


async def test_a_declared_state_is_there_after_a_move() -> None:
    """MIG-01: the same for a declared persistent state, without hooks of the class."""
    async with TestCluster([Account], silos=2) as cluster:
        account = cluster.get_grain(Account, "ann")
        for round in range(1, 21):
            target = other(cluster, account) if round > 1 else cluster.silos[0]
            assert await account.deposit(1) == 2 * round - 1
            await account.move(*parts(target))
            assert await account.deposit(1) == 2 * round
            assert cluster.where(account) is target


async def test_without_a_target_the_placement_chooses_and_the_memory_is_kept() -> None:
    """MIG-02: wherever it lands; two grains move at once; a move begins in on_deactivate."""
    async with TestCluster([Basket, Leaver], silos=3) as cluster:
        one, two = cluster.get_grain(Basket, "one"), cluster.get_grain(Basket, "two")
        await asyncio.gather(one.add("a"), two.add("b"))
        before = [cluster.where(one), cluster.where(two)]
        await asyncio.gather(one.move_away(), two.move_away())
        assert await asyncio.gather(one.add("c"), two.add("d")) == [["a", "c"], ["b", "d"]]
        assert cluster.where(one) is not before[0]
        assert cluster.where(two) is not before[1]
        leaver = cluster.get_grain(Leaver, "ann")
        await leaver.add("x")
        here = cluster.where(leaver)
        await leaver.end()
        assert await leaver.add("y") == ["x", "y"]
        assert cluster.where(leaver) is not here


async def test_a_silo_that_stops_moves_what_is_carried() -> None:
    """MIG-05: the grains of a silo that stops are on the other one with their memory; they saw why."""
    Leaver.reasons.clear()
    async with TestCluster([Leaver, Account], silos=2) as cluster:
        leavers = [cluster.get_grain(Leaver, str(number)) for number in range(20)]
        await asyncio.gather(*(leaver.add("42") for leaver in leavers))
        stopped = cluster.silos[0]
        moved = [leaver for leaver in leavers if cluster.where(leaver) is stopped]
        assert moved
        await cluster.stop(stopped)
        assert [await leaver.add("43") for leaver in leavers] == [["42", "43"]] * 20
        assert {reason.code for reason in Leaver.reasons} == {DeactivationCode.STOPPING}
        assert len(Leaver.reasons) == len(moved)


async def test_requests_that_wait_follow_the_activation() -> None:
    """The turn that runs ends here; those that wait are answered by the new activation, in the time of one call."""
    async with TestCluster([Basket], silos=2) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("first")
        here = cluster.where(basket)
        running = asyncio.create_task(basket.add_slowly("slow"))
        await cluster.advance(0.1)
        moving = asyncio.create_task(basket.move_away())
        waiting = [asyncio.create_task(basket.add(str(number))) for number in range(50)]
        await asyncio.gather(running, moving, *waiting)
        items = await basket.add("last")
        assert items[:2] == ["first", "slow"]
        assert sorted(items[2:-1]) == sorted(map(str, range(50)))
        assert cluster.where(basket) is not here


async def test_a_move_to_a_silo_that_cannot_be_reached_leaves_one_activation_with_its_memory() -> None:
    async with TestCluster([Basket], silos=3) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here = cluster.where(basket)
        assert here is not None
        owner = here.directory.topology.ring.owner(basket.id.ring_hash)  # of its part of the directory
        target = next(silo for silo in cluster.silos if silo is not here and silo.address != owner)
        cluster.partition(here, target)
        near = here.get_grain(Basket, "ann")  # the gateway of the client may be the silo that is cut off
        await near.move(*parts(target))
        assert await near.add("b") == ["a", "b"]
        assert cluster.where(basket) is here
        assert cluster.count(Basket) == 1
        assert here.inspection.figures.snapshot().types[0].moves_failed == 1


async def test_a_lost_answer_leaves_one_activation_with_its_memory() -> None:
    """The other silo has it, and this one does not know: the directory decides."""
    async with TestCluster([Basket], silos=3) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here = cluster.where(basket)
        assert here is not None
        target = other(cluster, basket)
        cluster.partition(target, here, one_way=True)
        moving = asyncio.create_task(basket.move(*parts(target)))
        await cluster.advance(2)
        cluster.heal()
        await moving
        assert await basket.add("b") == ["a", "b"]
        await cluster.advance(60)
        assert cluster.count(Basket) == 1


async def test_what_cannot_be_rehydrated_is_dropped_and_the_grain_serves() -> None:
    async with TestCluster([Broken], silos=2) as cluster:
        broken = cluster.get_grain(Broken, "ann")
        await broken.add("a")
        await broken.move_away()
        assert await broken.add("b") == ["b"]
        assert cluster.count(Broken) == 1


async def test_more_than_the_limit_is_not_carried_and_the_activation_only_ends() -> None:
    async with TestCluster([Heavy], silos=2, runtime={"carried_limit": 2000}) as cluster:
        heavy = cluster.get_grain(Heavy, "ann")
        await heavy.add("a")
        await heavy.move_away()
        assert await heavy.add("b") == ["b"]


async def test_a_class_may_say_that_it_stays() -> None:
    async with TestCluster([Pinned], silos=2) as cluster:
        assert "migratable=False" in await cluster.get_grain(Pinned, "ann").move_away()


class Talker(Basket, name="talker", placement="prefer_local"):
    """Calls others; a new one begins beside its first caller."""

    async def tell(self, others: list[str]) -> None:
        for other in others:
            await self.get_grain(Talker, other).add(self.key)


async def test_grains_that_call_each_other_are_brought_together_by_the_application() -> None:
    """MIG-08: an act or the grain itself moves one to the others; nothing else does, and what is pinned never moves."""
    async with TestCluster([Talker, Pinned], silos=2) as cluster:
        one, two = cluster.silos
        a, b, c, new = (cluster.get_grain(Talker, key) for key in ("a", "b", "c", "new"))
        pinned = cluster.get_grain(Pinned, "p")
        with placement_hint(one.address):
            await a.add("of a")
            await pinned.move_away()
        with placement_hint(two.address):
            await b.add("of b")
            await c.add("of c")
        for _ in range(50):
            await a.tell(["b", "c"])
        await cluster.advance(60)
        assert [cluster.where(each) for each in (a, b, c)] == [one, two, two], "no repartitioner moves them"
        report = await cluster.client.management.move(a, two.address, reason="it calls b and c")
        assert report.complete
        await a.tell(["b", "c", "new"])
        assert [cluster.where(each) for each in (a, b, c, new)] == [two] * 4
        assert await a.add("more") == ["of a", "more"]
        refused = await cluster.client.management.move(pinned, two.address, reason="it is called there")
        assert not refused.complete
        assert cluster.where(pinned) is one


async def test_a_target_that_does_not_take_the_grain_is_refused_at_once() -> None:
    async with TestCluster([Basket], silos=2) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        with pytest.raises(ValueError, match="the silos that take new grains of type 'basket' are"):
            await basket.move("127.0.0.1", 1, 1)


async def test_alone_it_stays_where_it_is() -> None:
    async with TestCluster([Basket], silos=1) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        await basket.move_away()
        assert await basket.add("b") == ["a", "b"]


async def test_a_steady_load_meets_one_activation_at_a_time_while_it_moves() -> None:
    """I2: no number is given twice although the grain moves all the time."""
    async with TestCluster([Basket], silos=4) as cluster:
        baskets = [cluster.get_grain(Basket, str(number)) for number in range(5)]

        async def load(number: int) -> list[int]:
            sizes: list[int] = []
            for call in range(40):
                sizes.append(len(await baskets[number % 5].add("x")))
                if call % 5 == number % 5:
                    await baskets[number % 5].move_away()
                await asyncio.sleep(0.001)
            return sizes

        loads = await asyncio.gather(*(load(number) for number in range(20)))
        for basket in range(5):
            sizes = sorted(size for number in range(basket, 20, 5) for size in loads[number])
            assert sizes == list(range(1, 161))


def test_one_half_of_the_hooks_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="has no rehydrate"):

        class Half(Grain):
            async def dehydrate(self) -> int:
                return 1


def test_hooks_without_a_type_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="does not name the type"):

        class Untyped(Grain):
            async def dehydrate(self):  # type: ignore[no-untyped-def]
                return 1

            async def rehydrate(self, memory: int) -> None: ...


async def test_hooks_with_two_types_stop_the_start() -> None:
    class Two(Grain, name="two"):
        async def dehydrate(self) -> int:
            return 1

        async def rehydrate(self, memory: str) -> None: ...

    with pytest.raises(ConfigurationError, match="dehydrate returns int, and rehydrate takes str"):
        async with TestCluster([Two]):
            pass
