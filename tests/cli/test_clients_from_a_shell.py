"""`grange clients`: who is connected, and the calls of grains that wait for an observer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner, Result

from grange import Grain, GrainObserver
from grange.cli.commands import main
from grange.client import Client
from grange.silo.silo import Silo


class Screen(GrainObserver):
    async def show(self) -> None: ...


class Held(Screen):
    """Answers when it may."""

    def __init__(self) -> None:
        self.called, self.may_end = asyncio.Event(), asyncio.Event()

    async def show(self) -> None:
        self.called.set()
        await self.may_end.wait()


class Room(Grain):
    async def say(self, screen: Screen) -> None:
        await screen.show()


async def test_clients_are_listed_with_the_calls_to_their_observers(tmp_path: Path) -> None:
    options = {"port": 0, "gateway_port": 0, "data": tmp_path, "name": "one", "admin_token": "a-token-of-an-admin"}
    async with Silo([Room], **options) as silo, Client([silo.gateway], name="screens") as client:

        async def clients(*words: str) -> Result:
            command = ["clients", *words, "--gateway", silo.gateway]
            environment = {"GRANGE_ADMIN_TOKEN": "a-token-of-an-admin"}
            return await asyncio.to_thread(CliRunner(env=environment).invoke, main, command)

        silo.client.create_observer(Held())
        held = Held()
        call = asyncio.create_task(client.get_grain(Room, "a").say(client.create_observer(held)))
        await held.called.wait()
        shown = json.loads((await clients("--json")).output)
        (row,) = [each for each in shown["clients"] if each["client"] == "screens" and each["in_flight"]]
        assert (row["silo"], row["in_flight"], row["unread"], row["called"]) == ("one", 1, 0, 1)
        assert (shown["own_observers"], shown["more"], shown["problems"]) == ({"one": 1}, 0, [])
        text = (await clients("--silo", "one")).output
        assert "screens" in text
        assert "one: 1 observer of code in its own process" in text
        held.may_end.set()
        await call
