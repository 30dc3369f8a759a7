"""An activation with memory moves between two silo processes: by itself, by `grange move`, and when its silo stops."""

from __future__ import annotations

import asyncio
import json

import pytest

from grange import placement_hint
from grange.client import Client
from tests.processes.crossing import Basket
from tests.processes.silo_process import PATIENCE, SiloProcess, Silos

APP = "tests.processes.crossing:silo"


@pytest.mark.parametrize("road", ["grpc", "tcp"])
async def test_an_activation_moves_with_its_memory(silos: Silos, road: str) -> None:
    """MIG-01, MIG-05: each time a new activation in the other process, with all items in their order."""
    one, two = [await silos.start("--road", road, "--name", name, app=APP) for name in ("one", "two")]
    await asyncio.gather(one.active(), two.active())
    async with Client([one.gateway, two.gateway]) as client:
        async with asyncio.timeout(PATIENCE):
            await client.wait_for([one.address, two.address])
        basket = client.get_grain(Basket, "ann")
        with placement_hint(one.address):
            assert await basket.add("0") == ["0"]
        here, other, seen = one, two, {await basket.activation()}
        for number in range(1, 11):
            assert await basket.pid() == here.pid
            await basket.move(other.address.host, other.address.port, other.address.generation)
            assert await basket.add(str(number)) == [str(each) for each in range(number + 1)]
            assert await basket.pid() == other.pid
            here, other = other, here
            seen.add(await basket.activation())
        assert len(seen) == 11
        await moved_from_a_shell(silos, basket, here=one, to=two)
        assert await two.stop() == 0
        assert await basket.pid() == one.pid
        assert await basket.add("last") == [*(str(number) for number in range(11)), "shell", "last"]
    assert await one.stop() == 0
    assert "Traceback" not in one.errors + two.errors


async def moved_from_a_shell(silos: Silos, basket: Basket, here: SiloProcess, to: SiloProcess) -> None:
    """Move it by `grange move`, asked at the gateway of the silo that has it not."""
    assert await basket.pid() == here.pid
    words = ("move", "basket/ann", "--to", "two", "--reason", "beside its stock", "--gateway", to.gateway)
    asked = await silos.command(*words, "--json")
    assert await asked.ended() == 2, "--json needs --yes"
    command = await silos.command(*words, "--json", "--yes")
    assert await command.ended() == 0, command.errors
    (row,) = json.loads("".join(command.printed))
    assert (row["name"], row["outcome"], row["count"]) == ("one", "done", 1)
    assert str(to.address) in row["text"]
    assert await basket.pid() == to.pid
    assert (await basket.add("shell"))[-2:] == ["10", "shell"]
    again = await silos.command(*words, "--yes")
    assert await again.ended() == 1
    assert "is on silo two already" in "\n".join(again.printed)
