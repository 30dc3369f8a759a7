"""Chains and waits between two processes: a section admits its chain back, and a cycle is named."""

from __future__ import annotations

import asyncio

import pytest

from grange.client import Client
from tests.processes.callers import Hop
from tests.processes.silo_process import PATIENCE, Silos

APP = "tests.processes.callers:silo"


@pytest.mark.parametrize("road", ["grpc", "tcp"])
async def test_a_chain_comes_back_or_is_named_across_processes(silos: Silos, road: str) -> None:
    """REE-06, REE-01: A->B->A with A and B in two processes."""
    first, second = await asyncio.gather(*(silos.start(app=APP, GRANGE_ROAD=road) for _ in range(2)))
    await asyncio.gather(first.active(), second.active())
    async with Client([first.gateway, second.gateway]) as client, asyncio.timeout(PATIENCE):
        await client.wait_for([first.address, second.address])
        found: dict[int, str] = {}
        for number in range(1000):
            found.setdefault(await client.get_grain(Hop, f"h{number}").pid(), f"h{number}")
            if len(found) == 2:
                break
        a, b = found[first.pid], found[second.pid]
        assert await client.get_grain(Hop, a).go([b, a, b], True) == b
        assert await client.get_grain(Hop, a).go([b, a], False) == f"hop/{a}.go -> hop/{b}.go -> hop/{a}.go"
    assert await first.stop() == 0
    assert await second.stop() == 0
    assert "waits for itself, and its call fails with DeadlockError" in first.errors + second.errors
