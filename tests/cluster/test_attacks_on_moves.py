"""Attacks on moves: code that hangs, other branches' requests, lost answers, and silos that are cordoned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest
import svcs

from grange import CallTimeout, ConnectionLost, Grain, placement_hint
from grange.grains.items import HIDDEN
from grange.proto import moves
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.runtime.activations.migration import ROOM_TIMEOUT
from grange.runtime.activations.moves import Carrier, Landed
from grange.runtime.requests.local_call import local_call
from grange.silo.migration import MOST_ARRIVALS
from grange.silo.rebalancer import REASON
from grange.silo.silo import Silo
from grange.testing import TestCluster

LIMITS = {"activation_timeout": 5.0, "deactivation_timeout": 5.0}


class Switches:
    """What the grains of a test do."""

    def __init__(self) -> None:
        self.hang = ""
        self.go_on = asyncio.Event()

    async def pass_by(self, hook: str) -> None:
        """Hang if this hook shall, once, and ignore each cancellation."""
        hangs, self.hang = self.hang == hook, "" if self.hang == hook else self.hang
        while hangs and not self.go_on.is_set():
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                continue


class Basket(Grain, name="attacked_basket", placement="random"):
    """Keeps its items in memory only."""

    def __init__(self, switches: Switches) -> None:
        self.switches = switches
        self.items: list[str] = []

    async def add(self, item: str) -> list[str]:
        self.items.append(item)
        return self.items

    async def stream(self) -> AsyncGenerator[str]:
        for item in self.items:
            yield item

    async def move(self, host: str, port: int, generation: int) -> None:
        self.migrate_when_idle(SiloAddress(host, port, generation))

    async def end(self) -> None:
        self.deactivate_when_idle()

    async def dehydrate(self) -> list[str]:
        await self.switches.pass_by("dehydrate")
        return self.items

    async def rehydrate(self, memory: list[str]) -> None:
        await self.switches.pass_by("rehydrate")
        self.items = memory


@asynccontextmanager
async def cluster_of(switches: Switches, silos: int, **options: Any) -> AsyncGenerator[TestCluster]:
    registry = svcs.Registry()
    registry.register_value(Switches, switches)
    async with TestCluster([Basket], silos=silos, services=registry, **options) as cluster:
        try:
            yield cluster
        finally:
            switches.go_on.set()  # else a failing test would never end


def other(cluster: TestCluster, reference: Any) -> Silo:
    """A silo that does not host this grain."""
    here = cluster.where(reference)
    return next(silo for silo in cluster.silos if silo is not here)


def parts(silo: Silo) -> tuple[str, int, int]:
    return silo.address.host, silo.address.port, silo.address.generation


async def test_a_rehydrate_that_hangs_takes_no_place_of_the_silo() -> None:
    """The activation is left behind, so its arrival has ended, and others may arrive."""
    switches = Switches()
    async with cluster_of(switches, 2, runtime=LIMITS) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        target = other(cluster, basket)
        switches.hang = "rehydrate"
        await basket.move(*parts(target))
        await cluster.advance(20)
        assert target._running.hosting.migration._arriving == 0
        await basket.add("b")
        switches.go_on.set()
        await cluster.advance(1)
        assert cluster.count(Basket) == 1


async def test_a_dehydrate_that_hangs_does_not_stop_the_rebalancer() -> None:
    """The activation is left behind, so its departure has ended, and those that wait for it go on."""
    switches = Switches()
    async with cluster_of(switches, 2, runtime=LIMITS) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        activation = cluster.activation(basket)
        assert activation is not None
        switches.hang = "dehydrate"
        departure = activation.migrate(other(cluster, basket).address, REASON)
        assert departure is not None
        await cluster.advance(30)
        assert departure.outcome.done()
        assert departure.outcome.result().silo is None
        switches.go_on.set()


async def test_a_fetch_that_waits_alone_does_not_cost_the_memory() -> None:
    """The fetch was for the old activation. The new one is needed all the same: it continues what was carried."""
    switches = Switches()
    async with cluster_of(switches, 2) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here, target = cluster.where(basket), other(cluster, basket)
        assert here is not None
        activation = cluster.activation(basket)
        assert activation is not None
        cluster.partition(here, target)
        switches.hang = "dehydrate"
        departure = activation.migrate(target.address, REASON)
        await cluster.advance(0.1)
        # A fetch of an enumeration whose end the caller does not know yet.
        plan = activation.hosted.plans[f"{HIDDEN}next.stream"]
        call = local_call(activation.grain_id, plan, (1, 1), None, here._running.calls.deps, None)
        here.catalog.deliver(call)
        assert list(activation.waiting) == [call]
        switches.go_on.set()
        await cluster.advance(8)
        cluster.heal()
        assert departure is not None
        assert departure.outcome.result().silo is None
        assert await basket.add("b") == ["a", "b"]


async def test_a_lost_question_keeps_no_caller_waiting_for_long() -> None:
    """The grain serves again when the answer is late, long before an activation may take its whole time."""
    async with cluster_of(Switches(), 2) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here = cluster.where(basket)
        assert here is not None
        ask = here._running.hosting.migration._ask

        async def lose(silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
            await asyncio.sleep(timeout)
            raise CallTimeout("lost")

        here._running.hosting.migration._ask = lose
        await basket.move(*parts(other(cluster, basket)))
        began = asyncio.get_running_loop().time()
        assert await basket.add("b") == ["a", "b"]
        assert asyncio.get_running_loop().time() - began < 6
        here._running.hosting.migration._ask = ask


async def test_what_another_activation_has_continued_is_not_continued_again() -> None:
    """The answer is lost, and the new activation serves a call and ends: its number must not be given twice."""
    async with cluster_of(Switches(), 3) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here = cluster.where(basket)
        assert here is not None
        target = other(cluster, basket)
        ask = here._running.hosting.migration._ask
        served: list[list[str]] = []

        async def lose(silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
            await ask(silo, service, question, timeout)
            there = target.get_grain(Basket, "ann")
            served.append(await there.add("b"))
            await there.end()
            await asyncio.sleep(1)
            raise ConnectionLost("lost")

        here._running.hosting.migration._ask = lose
        await basket.move(*parts(target))
        while not served:
            await asyncio.sleep(0)  # the call below might overtake the other one
        assert await basket.add("c") == ["c"]
        assert served == [["a", "b"]]
        await cluster.advance(2)  # the old silo learns that no answer comes
        assert await basket.add("d") == ["c", "d"]
        assert cluster.count(Basket) == 1


async def ask_to_continue(target: Silo, basket: Any, here: Silo, memory: bytes = b"\x90") -> moves.Moved:
    """Ask a silo to continue an activation that is not there."""
    address = GrainAddress(basket.id, here.address, 1, 1)
    return moves.read_answer(await target._running.hosting.migration._answer(moves.question(address, memory)))


async def test_a_silo_takes_no_activation_that_it_must_not_have() -> None:
    """One that is too large, one too many at once, one that it has, and any while it is fenced or stops."""
    async with cluster_of(Switches(), 2, runtime={"carried_limit": 1000}) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        here, target = cluster.silos
        migration, catalog = target._running.hosting.migration, target.catalog
        large = await ask_to_continue(target, basket, here, b"x" * 1001)
        assert not large.arrived
        assert "it carries 1001 bytes" in large.text
        migration._arriving = MOST_ARRIVALS
        crowded = await ask_to_continue(target, basket, here)
        migration._arriving = 0
        assert crowded == moves.Moved(False, f"{MOST_ARRIVALS} activations arrive already", full=True)
        assert cluster.count(Basket) == 0
        with placement_hint(target.address):
            await basket.add("a")
        there = await ask_to_continue(target, basket, here)
        assert not there.arrived
        assert "has an activation of" in there.text
        assert await basket.add("b") == ["a", "b"]
        catalog._open = False
        other_basket = cluster.get_grain(Basket, "bob")
        assert "takes no new grains" in (await ask_to_continue(target, other_basket, here)).text
        catalog.open()
        catalog.deps.gate.fence("a test")
        made = catalog.hosted["attacked_basket"].figures.created
        fenced = await ask_to_continue(target, other_basket, here)
        assert not fenced.arrived
        assert catalog.hosted["attacked_basket"].figures.created == made


@pytest.mark.parametrize("silos", [2, 3])
async def test_a_silo_that_stops_finds_room_for_what_is_carried(silos: int) -> None:
    """MIG-05: on another silo, or on the same one when places are free there; meanwhile the grain serves nowhere."""
    async with cluster_of(Switches(), silos) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here = cluster.where(basket)
        assert here is not None
        full = next(silo for silo in cluster.silos if silo is not here)
        full._running.hosting.migration._arriving += MOST_ARRIVALS
        here.catalog.deps.moves.carrier = Chosen(here.catalog.deps.moves.carrier, full.address)
        stopping = asyncio.create_task(cluster.stop(here))
        await cluster.advance(2)
        assert stopping.done() == (silos == 3)
        full._running.hosting.migration._arriving -= MOST_ARRIVALS
        await stopping
        assert await basket.add("b") == ["a", "b"]
        assert (cluster.where(basket) is full) == (silos == 2)


async def test_a_silo_that_stops_does_not_wait_for_room_for_ever() -> None:
    """MIG-05: then what is carried is lost, and the log says so."""
    async with cluster_of(Switches(), 2) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here = cluster.where(basket)
        assert here is not None
        full = next(silo for silo in cluster.silos if silo is not here)
        full._running.hosting.migration._arriving += MOST_ARRIVALS
        stopping = asyncio.create_task(cluster.stop(here))
        await cluster.advance(ROOM_TIMEOUT + 2)
        assert stopping.done()
        assert await basket.add("b") == ["b"]


class Chosen(Carrier):
    """A carrier that asks one silo first."""

    def __init__(self, carrier: Carrier, first: SiloAddress) -> None:
        self._carrier = carrier
        self._first = first

    def obstacle(self, grain_type: str, target: SiloAddress, wanted: int = 0) -> str:
        return self._carrier.obstacle(grain_type, target, wanted)

    def elsewhere(self, grain_id: GrainId, but: Collection[SiloAddress] = ()) -> SiloAddress | None:
        return self._carrier.elsewhere(grain_id, but) if self._first in but else self._first

    def expect(self, grain_id: GrainId, silo: SiloAddress) -> None:
        self._carrier.expect(grain_id, silo)

    async def carry(self, address: GrainAddress, target: SiloAddress, memory: bytes) -> Landed:
        return await self._carrier.carry(address, target, memory)


async def test_an_activation_on_its_way_is_none_of_the_silo_that_it_leaves() -> None:
    """A recovery of the directory would restore its entry over that of the new one."""
    async with cluster_of(Switches(), 2) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here, activation = cluster.where(basket), cluster.activation(basket)
        assert here is not None
        assert activation is not None
        address, catalog = activation.address, here.catalog
        ask, listed = here._running.hosting.migration._ask, [catalog.is_registered(address)]

        async def look(silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
            listed.append(catalog.is_registered(address))
            return await ask(silo, service, question, timeout)

        here._running.hosting.migration._ask = look
        await basket.move(*parts(other(cluster, basket)))
        assert await basket.add("b") == ["a", "b"]
        assert listed == [True, False]
