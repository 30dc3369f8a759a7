"""Silos in processes of their own call the observers of a client here, by both roads, and run filters around calls."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from grange import Call, Proceed, request_context
from grange.client import Client, ClientOptions
from tests.processes.observed import Refusal, Room, Screen
from tests.processes.silo_process import PATIENCE, SiloProcess, Silos

APP = "tests.processes.observed:silo"


class Lines(Screen):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.running = self.most = 0
        self.held, self.released = asyncio.Event(), asyncio.Event()

    async def show(self, text: str) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self.lines.append(text)
        if text == "no":
            raise Refusal("no", 7)
        return text.upper()

    async def hold(self) -> None:
        self.held.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.released.set()


async def run_two(silos: Silos, road: str) -> list[SiloProcess]:
    started = [await silos.start("--road", road, app=APP) for _ in range(2)]
    for silo in started:
        await silo.active()
    return started


async def room_in(client: Client, silo: SiloProcess, screen: Screen) -> Room:
    """A room in this process, which the screen has joined."""
    for number in range(1000):
        room = client.get_grain(Room, f"room-{number}")
        if await room.join(screen) == silo.pid:
            return room
    raise AssertionError(f"of 1000 rooms none is in {silo.pid}")


@pytest.mark.parametrize("road", ["grpc", "tcp"])
async def test_grains_of_other_processes_call_an_observer(silos: Silos, road: Any) -> None:
    """OBS-01, OBS-06, OBS-07, DIR-13, CAN-10: values, errors, order and cancellation; the silo of its gateway dies."""
    first, second = await run_two(silos, road)
    async with Client([first.gateway, second.gateway], options=ClientOptions(road=road)) as client:
        async with asyncio.timeout(PATIENCE):
            await client.wait_for([first.address, second.address])
        lines = Lines()
        screen = client.create_observer(lines)
        near, far = await room_in(client, first, screen), await room_in(client, second, screen)
        assert [await room.say("hello") for room in (near, far)] == [[], []]
        assert lines.lines == ["hello", "hello"]
        with pytest.raises(Refusal) as raised:
            await far.ask(screen, "no")
        assert raised.value.args == ("no", 7)
        words = [str(number) for number in range(1000)]
        answers = await asyncio.gather(*(far.ask(screen, word) for word in words))
        assert answers == words
        assert sorted(lines.lines[3:]) == sorted(words)
        assert lines.most == 1
        first.signal(signal.SIGKILL)
        await first.ended()
        async with asyncio.timeout(PATIENCE):
            assert await far.ask(screen, "still here") == "STILL HERE"
        holding = asyncio.create_task(far.hold(screen))
        async with asyncio.timeout(PATIENCE):
            await lines.held.wait()
            holding.cancel()
            await lines.released.wait()
        client.delete_observer(screen)
        assert await far.say("gone") == ["ObserverGone"]


async def test_a_planned_stop_of_the_gateway_loses_no_call_to_an_observer(silos: Silos) -> None:
    """The client answers what is under way, and is found at the other silo."""
    first, second = await run_two(silos, "grpc")
    async with Client([first.gateway, second.gateway]) as client:
        async with asyncio.timeout(PATIENCE):
            await client.wait_for([first.address, second.address])
        lines = Lines()
        screen = client.create_observer(lines)
        room = await room_in(client, second, screen)
        stopping = asyncio.create_task(first.stop())
        count = 0
        while not stopping.done():
            assert await room.ask(screen, str(count)) == str(count)
            count += 1
        assert await stopping == 0
        assert lines.lines == [str(number) for number in range(count)]


async def test_filters_run_on_both_sides(silos: Silos) -> None:
    """FLT-01, FLT-02, FLT-06, FLT-09: the client's outgoing one, then the silo's incoming one; errors; streams."""
    seen: list[str] = []

    async def outgoing(call: Call, proceed: Proceed) -> Any:
        request_context["path"] = "client "
        seen.append(call.method)
        return await proceed()

    (silo,) = [await silos.start(app=APP)]
    await silo.active()
    async with Client([silo.gateway], outgoing_filters=[outgoing]) as client:
        room = client.get_grain(Room, "a")
        assert await room.path() == "client silo"
        with pytest.raises(PermissionError) as raised:
            await room.say("refused")
        assert raised.value.args == ("not this word",)
        assert seen == ["path", "say"]
        assert "path" not in request_context
        assert [word async for word in room.words("to be")] == ["toto", "bebe"]
        assert seen == ["path", "say", "words"]
