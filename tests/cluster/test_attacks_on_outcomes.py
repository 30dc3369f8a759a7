"""Exceptions of user code never change the reported outcome of a call."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from grange import (
    CallerClosed,
    ConfigurationError,
    Grain,
    InvalidCall,
    PersistentState,
    SiloUnavailable,
    StorageError,
    one_way,
)
from grange.client import Client
from grange.proto.codec import decode_frame, encode_frame
from grange.proto.ids import GrainId
from grange.proto.message import Request
from grange.runtime.requests.deadlines import milliseconds_until
from grange.silo import Silo
from grange.testing import TestCluster
from grange.transport.memory import MemoryTransport


class NoStock(SiloUnavailable):
    """An error that means "not executed", but that a method raises."""


async def test_an_error_that_means_not_executed_cannot_be_registered() -> None:
    """It would be taken for a refusal, and the executed call would be executed again and again."""
    with pytest.raises(ConfigurationError, match="CallError"):

        class Shop(Grain, errors=[NoStock]):
            pass

    class Plain(Grain):
        pass

    memory = {"membership": "memory://", "storage": "memory://"}
    with pytest.raises(ConfigurationError, match="CallError"):
        await Silo(grains=[Plain], errors=[NoStock], port=0, gateway_port=0, **memory).start()
    with pytest.raises(ConfigurationError, match="CallError"):
        Client(["127.0.0.1:1"], errors=[NoStock])


class Overworked(Grain):
    def __init__(self) -> None:
        self.runs = 0

    async def work(self) -> None:
        self.runs += 1
        raise NoStock("nothing left")

    async def count(self) -> int:
        return self.runs


async def test_a_method_that_raises_not_executed_runs_once() -> None:
    async with TestCluster(grains=[Overworked], silos=2) as cluster:
        for number, caller in enumerate((cluster, *cluster.silos)):
            grain = caller.get_grain(Overworked, f"{number}")
            with pytest.raises(Exception, match="nothing left") as raised:
                await grain.work()
            assert not isinstance(raised.value, SiloUnavailable)
            assert await grain.count() == 1


def exits(method: str, args: tuple[Any, ...]) -> bool:
    raise SystemExit(3)


def cancels(method: str, args: tuple[Any, ...]) -> bool:
    raise asyncio.CancelledError


class Exits(Grain, may_interleave=exits):
    async def get(self) -> str:
        return self.key


class Cancels(Grain, may_interleave=cancels):
    async def get(self) -> str:
        return self.key


@pytest.mark.parametrize("cls", [Exits, Cancels])
async def test_a_predicate_ends_neither_the_silo_nor_a_connection(cls: type[Exits]) -> None:
    """It runs in the task that delivers the request: a connection's reader, or another grain's turn."""
    async with TestCluster([cls, Overworked], silos=1) as cluster:
        for caller in (cluster, cluster.silos[0]):
            for _ in range(2):
                with pytest.raises(InvalidCall, match="may_interleave raised"):
                    await caller.get_grain(cls, "a").get()
            assert await caller.get_grain(Overworked, "b").count() == 0


class Fires(Grain):
    @one_way
    async def fire(self) -> None: ...


async def test_a_pending_one_way_call_fails_when_its_client_closes() -> None:
    """It was not handed to a connection, so it was not executed. It must not wait for ever."""
    async with TestCluster([Fires]) as cluster:
        transport = MemoryTransport(cluster.network, "other")
        async with Client([cluster.silos[0].gateway], transport=transport) as client:
            for silo in list(cluster.silos):
                await cluster.kill(silo)
            call = asyncio.create_task(client.get_grain(Fires, "a").fire())
            await cluster.advance(1)
            assert not call.done()
        with pytest.raises(CallerClosed):
            await asyncio.wait_for(call, 60)
        await transport.close()


async def test_a_time_out_longer_than_the_wire_can_carry_is_no_limit() -> None:
    """32 bits of milliseconds are seven weeks. A caller may wait longer."""
    now = asyncio.get_running_loop().time()
    for seconds, limited in ((2**32 / 1000 - 1, True), (2**32 / 1000 + 1, False), (1e300, False), (math.inf, False)):
        request = Request(1, GrainId("fires", "a"), "fire", b"", timeout_ms=milliseconds_until(now + seconds))
        assert decode_frame(encode_frame([request]), 1000) == [request]
        assert (request.timeout_ms > 0) is limited


class Measure(Grain):
    def __init__(self, state: PersistentState[dict[str, float]]) -> None:
        self.state = state

    async def put(self, value: float) -> None:
        self.state.value["value"] = value
        await self.state.write()

    async def get(self) -> dict[str, float]:
        return self.state.value

    async def leave(self) -> None:
        self.deactivate_when_idle()


async def test_no_write_is_acknowledged_that_cannot_be_read_back() -> None:
    """JSON has no NaN. Stored as null, it would prevent the grain from being activated again."""
    async with TestCluster([Measure]) as cluster:
        grain = cluster.get_grain(Measure, "a")
        await grain.put(1.5)
        with pytest.raises(StorageError, match="cannot be written"):
            await grain.put(math.nan)
        await grain.leave()
        assert await grain.get() == {"value": 1.5}
