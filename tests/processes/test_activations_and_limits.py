"""Abandoned turns, crash loops, blocking methods and rates, between processes."""

from __future__ import annotations

import asyncio

import pytest

from grange import Overloaded, TurnAbandoned, request_context
from grange.client import Client
from tests.processes.life import Worker
from tests.processes.silo_process import Silos

APP = "tests.processes.life:silo"


async def test_what_a_caller_in_another_process_learns(silos: Silos) -> None:
    """LIF-24, LIF-25, LIF-27, BLK-01, BLK-03, RAT-01."""
    silo = await silos.start(app=APP, GRANGE_RUNTIME__MAX_TURN_TIME="2")
    await silo.active()
    async with Client([silo.gateway]) as client:
        ann = client.get_grain(Worker, "ann")
        request_context["user"] = "eve"
        assert await ann.add(1) == (1, "grange-blocking", "eve")

        stuck = asyncio.create_task(ann.hang())
        await asyncio.sleep(0)
        assert (await ann.add(1))[0] == 2, "the write of the abandoned turn was refused"
        with pytest.raises(TurnAbandoned, match="longer than max_turn_time"):
            await stuck

        assert [await ann.ask(), await ann.ask()] == ["yes", "yes"]
        with pytest.raises(Overloaded) as over:
            await ann.ask()
        assert 200 < over.value.retry_after <= 300

        for _ in range(4):
            with pytest.raises(LookupError, match="has no desk") as failed:
                await client.get_grain(Worker, "bad").ask()
        assert any("the next one may begin in" in note for note in failed.value.__notes__)
    assert "activation_abandoned" in silo.errors
    assert await silo.stop() == 0
