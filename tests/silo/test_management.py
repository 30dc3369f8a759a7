"""The system targets of management: state, activations, view, collection."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from grange import Grain
from grange.membership.model.member import View
from grange.proto.acts import ACT
from grange.proto.inspection import DETAIL, FIND, FindActivations, FoundActivations
from grange.proto.management import (
    STATUS,
    VIEW,
    SiloState,
    encode,
)
from grange.testing.cluster import TestCluster


class Cart(Grain):
    async def hold(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)


class Order(Grain):
    async def touch(self) -> None: ...


async def ask(cluster: TestCluster, service: str, question: msgspec.Struct | None, kind: Any) -> Any:
    data = b"" if question is None else encode(question)
    answer = await cluster.client.ask(cluster.client.gateways[0], service, data)
    return msgspec.msgpack.decode(answer, type=kind)


async def test_a_silo_reports_its_state() -> None:
    async with TestCluster([Cart, Order], silos=1) as cluster:
        for key in "abc":
            await cluster.get_grain(Cart, key).hold()
        await cluster.get_grain(Order, "a").touch()
        calls = [asyncio.create_task(cluster.get_grain(Cart, "a").hold(5)) for _ in range(3)]
        await cluster.advance(1)
        state: SiloState = await ask(cluster, STATUS, None, SiloState)
        assert state.address == cluster.silos[0].address
        assert (state.name, state.activations, state.requests) == ("silo-1", {"cart": 3, "order": 1}, 3)
        assert state.version == cluster.silos[0].view.version
        before = state.uptime
        await asyncio.gather(*calls)
        state = await ask(cluster, STATUS, None, SiloState)
        assert state.requests == 0
        assert state.uptime - before == pytest.approx(14, abs=0.5)


async def test_a_silo_reports_its_view() -> None:
    async with TestCluster([Order], silos=3) as cluster:
        view: View = await ask(cluster, VIEW, None, View)
        assert {each.address for each in view.active} == {silo.address for silo in cluster.silos}


@pytest.mark.parametrize("question", [b"", b"\xc1", b"\x91" * 100_000, encode(FindActivations("cart"))[:3]])
@pytest.mark.parametrize("service", [FIND, DETAIL, ACT])
async def test_a_malformed_question_is_an_error_for_its_sender(service: str, question: bytes) -> None:
    """The silo answers the next question."""
    async with TestCluster([Order], silos=1) as cluster:
        with pytest.raises(Exception, match=r"DecodeError|ValidationError|RecursionError|truncated|invalid|recursion"):
            await cluster.client.ask(cluster.client.gateways[0], service, question)
        assert await ask(cluster, FIND, FindActivations(), FoundActivations)
