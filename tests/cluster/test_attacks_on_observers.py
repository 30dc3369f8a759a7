"""A client with observers that does not answer, is slow to end, or looks at what it gets, harms no silo."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from grange import GrainId, RemoteError
from grange.client.client import Client
from grange.grains.context import current_turn
from grange.runtime.observers.client_end import ClientEnd
from grange.runtime.observers.routes import ANSWER_GRACE
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster
from tests.cluster.test_grains_call_observers import Asks, Notes, other_client


class Hangs(Notes):
    async def hurry(self, seconds: float) -> str:
        await asyncio.sleep(10_000)
        return "late"


def asks_of(silo: Silo) -> Asks:
    """A grain whose place is this silo."""
    keys = (f"k{number}" for number in range(1000))
    key = next(key for key in keys if silo.directory.locator.known(GrainId("asks", key)) == silo.address)
    return silo.get_grain(Asks, key)


@pytest.mark.parametrize("near", [True, False])
async def test_a_call_that_is_never_answered_keeps_nothing_after_its_time(near: bool) -> None:
    """From the silo of the client's connection as from another one."""
    async with TestCluster([Asks], silos=2) as cluster:
        first, second = cluster.silos
        cluster.network.partition("one-gateway", second.address.endpoint)
        async with other_client(cluster, "one-gateway", [first.gateway]) as client:
            reference = client.create_observer(Hangs())
            with pytest.raises(RemoteError, match="CallTimeout"):
                await asks_of(first if near else second).hurry(reference, 1)
            await cluster.advance(ANSWER_GRACE + 1)
            assert [silo.inspection.figures.snapshot().observers.in_flight for silo in cluster.silos] == [0, 0]


@pytest.mark.parametrize("near", [True, False])
async def test_one_way_calls_to_a_silent_client_keep_nothing_after_their_time(
    near: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They have no time of their own on the wire, so the end of their callers' patience ends them."""
    async with TestCluster([Asks], silos=2) as cluster:
        first, second = cluster.silos
        cluster.network.partition("one-gateway", second.address.endpoint)
        async with other_client(cluster, "one-gateway", [first.gateway]) as client:
            reference = client.create_observer(Notes())
            monkeypatch.setattr(ClientEnd, "receive", lambda *_: None)
            for _ in range(3):
                await asks_of(first if near else second).tell(reference, "x")
            await cluster.advance(1)
            assert in_flight(cluster) == [3, 0]
            await cluster.advance(29 + ANSWER_GRACE + 1)
            assert in_flight(cluster) == [0, 0]
    assert [record.getMessage() for record in caplog.records].count(f"one-way call {reference.id}.tell failed") == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("hosted", [True, False])
async def test_one_way_calls_to_an_observer_that_hangs_keep_nothing_after_their_time(hosted: bool) -> None:
    """The first one runs; those behind it give their places back."""
    async with TestCluster([Asks], silos=1) as cluster:
        client = cluster.silos[0].client if hosted else cluster.client
        hangs = Hangs()
        reference = client.create_observer(hangs)
        hurried = asyncio.create_task(cluster.get_grain(Asks, "other").hurry(reference, 1))
        await cluster.advance(0.1)
        for _ in range(3):
            await cluster.get_grain(Asks, "a").tell(reference, "x")
        assert len(observed(client, reference)._waiting) == 3
        await cluster.advance(31)
        assert len(observed(client, reference)._waiting) == 0
        assert in_flight(cluster) == [0]
        await asyncio.gather(hurried, return_exceptions=True)
        assert hangs.asked == []


def in_flight(cluster: TestCluster) -> list[int]:
    return [silo.inspection.figures.snapshot().observers.in_flight for silo in cluster.silos]


def observed(client: Any, reference: Any) -> Any:
    host = client._observers if isinstance(client, Client) else client._host
    return host._observers[reference.id]


@pytest.mark.parametrize("near", [True, False])
async def test_a_client_does_not_see_the_turns_that_wait(near: bool) -> None:
    """The links of a call chain let a request back into a turn, so they stay among silos."""
    chains: list[bytes] = []

    class Looks(Notes):
        async def ask(self, text: str) -> str:
            turn: Any = current_turn.get()
            chains.append(turn.chain)
            return text

    async with TestCluster([Asks], silos=2) as cluster:
        first, second = cluster.silos
        cluster.network.partition("one-gateway", second.address.endpoint)
        async with other_client(cluster, "one-gateway", [first.gateway]) as client:
            assert await asks_of(first if near else second).ask(client.create_observer(Looks()), "x") == "x"
    assert chains == [b""]


async def test_a_lost_connection_drops_the_calls_that_wait_at_an_observer() -> None:
    """Their callers are told at once, and they never run; the turn that runs completes."""
    async with TestCluster([Asks], silos=2) as cluster:
        first, second = cluster.silos
        cluster.network.partition("one-gateway", second.address.endpoint)
        async with other_client(cluster, "one-gateway", [first.gateway]) as client:
            notes = Notes()
            reference = client.create_observer(notes)
            calls = asyncio.create_task(asks_of(second).ask_all(reference, ["slow 1", "slow 2", "slow 3"]))
            await cluster.advance(0.5)
            assert len(observed(client, reference)._waiting) == 2
            await cluster.kill(first)
            with pytest.raises(RemoteError, match="ConnectionLost"):
                await calls
            assert len(observed(client, reference)._waiting) == 0
            await cluster.advance(5)
            assert notes.asked == ["slow 1"]


async def test_a_client_closes_although_its_observer_does_not_end() -> None:
    """Its turn is cancelled, logged, and left behind."""
    leave = asyncio.Event()

    class Stays(Notes):
        async def ask(self, text: str) -> str:
            for _ in range(10):
                with suppress(asyncio.CancelledError):
                    await leave.wait()
                    break
            return ""

    async with TestCluster([Asks], silos=1) as cluster:
        client = other_client(cluster, "stays")
        try:
            async with client:
                call = asyncio.create_task(cluster.get_grain(Asks, "a").outcome(client.create_observer(Stays()), "x"))
                await cluster.advance(1)
                began = asyncio.get_running_loop().time()
            assert 4 < asyncio.get_running_loop().time() - began < 6
            assert await call == "SiloStopped"
        finally:
            leave.set()
            await cluster.advance(0.1)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("hosted", [True, False])
async def test_a_call_is_freed_with_its_end(hosted: bool) -> None:
    """Thousands of calls leave no work to the garbage collector, also those that were suspended."""
    tasks: list[weakref.ref[Any]] = []

    class Told(Notes):
        async def ask(self, text: str) -> str:
            tasks.append(weakref.ref(asyncio.current_task()))  # type: ignore[arg-type]
            return await super().ask(text)

    async with TestCluster([Asks], silos=1) as cluster:
        reference = (cluster.silos[0].client if hosted else cluster.client).create_observer(Told())
        for text in ("x", "slow", "fail"):
            await cluster.get_grain(Asks, "a").outcome(reference, text)
        await cluster.advance(1)
        assert [each() for each in tasks] == [None, None, None]
