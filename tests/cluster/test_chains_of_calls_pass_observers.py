"""A call to an observer carries the chain of calls that wait for it, so a cycle through one of the silo is named."""

from __future__ import annotations

import asyncio

import pytest

from grange import CallTimeout, Grain, GrainObserver, response_timeout
from grange.client.client import Client
from grange.grains.context import current_turn
from grange.grains.reentrancy import allow_reentrancy
from grange.proto.chain import with_turn
from grange.runtime.requests.invocation import Invocation
from grange.testing.cluster import TestCluster


class Echo(GrainObserver):
    async def again(self) -> str: ...

    async def chain(self) -> bytes: ...


class Asker(Grain):
    """Calls an observer, which may call it back."""

    async def ask(self, echo: Echo, *, back_in: bool = False) -> str:
        if not back_in:
            return await echo.again()
        with allow_reentrancy():
            return await echo.again()

    @response_timeout(3)
    async def ask_soon(self, echo: Echo) -> str:
        return await echo.again()

    async def answer(self) -> str:
        return "answered"

    async def chain_of(self, echo: Echo) -> bytes:
        return await echo.chain()


class CallsBack(Echo):
    """Calls the grain that calls it."""

    def __init__(self, place: Client | TestCluster) -> None:
        self.place = place
        self.outcomes: list[str] = []

    async def again(self) -> str:
        try:
            answer = await self.place.get_grain(Asker, "a").answer()
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        self.outcomes.append(answer)
        return answer

    async def chain(self) -> bytes:
        call = current_turn.get()
        assert isinstance(call, Invocation)
        return call.chain


LINK = len(with_turn(b"", 1))


async def test_a_call_to_an_observer_of_the_silo_carries_its_chain() -> None:
    """To code in the process of the silo, one turn waits. A client, of this silo or of another one, sees no turns."""
    async with TestCluster([Asker], silos=2) as cluster:
        echo = cluster.client.create_observer(CallsBack(cluster.client))
        for number in range(4):  # on both silos
            assert len(await cluster.get_grain(Asker, f"{number}").chain_of(echo)) == 0
        home = cluster.silos[0]
        own = home.client.create_observer(CallsBack(cluster))
        assert len(await home.get_grain(Asker, "own").chain_of(own)) == LINK


async def test_a_cycle_through_an_observer_of_the_silo_is_named() -> None:
    """REE-01: within two seconds, and with the observer in the cycle."""
    async with TestCluster([Asker], silos=1) as cluster:
        silo = cluster.silos[0]
        calls_back = CallsBack(silo)  # type: ignore[arg-type]
        asked = asyncio.create_task(silo.get_grain(Asker, "a").ask(silo.client.create_observer(calls_back)))
        await cluster.advance(3)
        assert asked.done()
        assert (await asked).startswith("DeadlockError")
        assert "asker/a.ask" in calls_back.outcomes[0]
        assert "again" in calls_back.outcomes[0]


async def test_a_grain_lets_its_chain_back_in_through_an_observer_of_the_silo() -> None:
    async with TestCluster([Asker], silos=1) as cluster:
        silo = cluster.silos[0]
        echo = silo.client.create_observer(CallsBack(silo))  # type: ignore[arg-type]
        assert await silo.get_grain(Asker, "a").ask(echo, back_in=True) == "answered"


async def test_a_chain_ends_at_a_client() -> None:
    """No silo believes the chain of a client, so a call back through one waits until its time is over."""
    async with TestCluster([Asker], silos=1) as cluster:
        echo = cluster.client.create_observer(CallsBack(cluster.client))
        with pytest.raises(CallTimeout):
            await cluster.get_grain(Asker, "a").ask_soon(echo)
