"""A cluster with its dashboard for the browser tests, in a process of its own: `python -m tests.browser.scene`.

It prints one line of JSON with the address and the tokens. Then it reads orders from standard input, one a line, and
answers each with `done`: `load` (calls go on, some fail, one turn is stuck), `rows N`, `hostile`, `kill`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grange import Grain, PersistentState
from grange.client.client import Client
from grange.dashboard.standalone import Standing, serve
from grange.observability import Telemetry
from grange.proto.acts import Level
from grange.silo.admin_sockets import listen
from grange.silo.dashboard_options import DashboardOptions
from grange.silo.silo import Silo
from tests.browser.hostile import TEXTS

log = logging.getLogger("shop")

TOKENS = {Level.VIEWER: "token-of-a-viewer", Level.OPERATOR: "token-of-an-operator", Level.ADMIN: "token-of-an-admin"}


@dataclass
class Basket:
    items: dict[str, int] = field(default_factory=dict)
    note: str = ""


class Cart(Grain):
    """One shopping cart."""

    def __init__(self, state: PersistentState[Basket]) -> None:
        self.state = state

    async def add(self, sku: str, quantity: int = 1) -> int:
        """Put something into the cart."""
        self.state.value.items[sku] = quantity
        await self.state.write()
        return quantity

    async def note(self, text: str) -> None:
        """Keep a text, and log it."""
        self.state.value.note = text
        await self.state.write()
        log.info("note: %s", text, extra={"event": "noted"})

    async def touch(self) -> None:
        """Do nothing."""

    async def fail(self) -> None:
        """Fail."""
        raise ValueError("this cart fails")

    async def wait(self, seconds: float) -> None:
        """Hold the turn."""
        await asyncio.sleep(seconds)


class Order(Grain):
    """One order."""

    async def ship(self) -> str:
        """Ship it."""
        await asyncio.sleep(random.random() * 0.02)
        return "shipped"


class Scene:
    """The silos, the client, and what runs on them."""

    def __init__(self) -> None:
        self.silos: list[Silo] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        async with AsyncExitStack() as parts:
            folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="grange-scene-")))
            for number in (1, 2):
                silo = Silo([Cart, Order], telemetry=Telemetry(sample=0.2), **options(folder, number))
                await silo.start()
                self.silos.append(silo)
            parts.push_async_callback(self._stop)
            gateways = [silo.gateway for silo in self.silos]
            client = Client(gateways, token=TOKENS[Level.ADMIN], cluster="shop")
            self.client = await parts.enter_async_context(client)
            await self._serve()

    async def _serve(self) -> None:
        listening = await listen("127.0.0.1", 0)
        port = listening.getsockname()[1]
        tokens = {level.name.lower(): token for level, token in TOKENS.items()}
        standing = Standing("shop", TOKENS, DashboardOptions(), ("*",))
        stop = asyncio.Event()
        orders = asyncio.create_task(self._obey(stop))
        facts = {"url": f"http://127.0.0.1:{port}", "tokens": tokens, "silos": [silo.name for silo in self.silos]}
        with listening:
            await serve(self.client, standing, listening, stop, lambda: print(json.dumps(facts), flush=True))
        orders.cancel()
        with suppress(asyncio.CancelledError):
            await orders

    async def _obey(self, stop: asyncio.Event) -> None:
        orders: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
            "load": self.load, "rows": self.rows, "hostile": self.hostile, "kill": self.kill,
        }  # fmt: skip
        while line := await asyncio.to_thread(sys.stdin.readline):
            word, *rest = line.split()
            await orders[word](*map(int, rest))
            print("done", flush=True)
        stop.set()

    async def load(self) -> None:
        """Calls from now on."""
        self._start(self._calls())
        self._start(self._quietly(self.client.get_grain(Cart, "held").wait(600)))
        for _ in range(3):
            self._start(self._quietly(self.client.get_grain(Cart, "held").touch()))

    async def _calls(self) -> None:
        rng = random.Random(1)
        for n in range(1_000_000):
            key = f"customer-{rng.randrange(50)}"
            await self._quietly(self.client.get_grain(Cart, key).add("apple", n))
            await self._quietly(self.client.get_grain(Order, key).ship())
            if n % 10 == 0:
                await self._quietly(self.client.get_grain(Cart, key).fail())
            await asyncio.sleep(0.02)

    async def rows(self, count: int) -> None:
        """Many activations."""
        for start in range(0, count, 500):
            keys = range(start, min(start + 500, count))
            await asyncio.gather(*(self.client.get_grain(Order, f"order-{key:06}").ship() for key in keys))

    async def hostile(self) -> None:
        """Keys, states and log lines that would run in a careless page."""
        for text in TEXTS:
            with suppress(ValueError):
                await self.client.get_grain(Cart, text).note(text)

    async def kill(self) -> None:
        """End the second silo as SIGKILL does."""
        await self.silos.pop().kill()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, call: Any) -> None:
        with suppress(Exception):
            await call

    async def _stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for silo in self.silos:
            await silo.kill()


def options(folder: Path, number: int) -> dict[str, Any]:
    return {
        "name": f"silo-{number}",
        "cluster": "shop",
        "port": 0,
        "gateway_port": 0,
        "data": folder,
        "admin_token": TOKENS[Level.ADMIN],
        "actions": ("*",),
        "keep_logs": True,
    }


if __name__ == "__main__":
    logging.basicConfig(level="WARNING")
    logging.getLogger("shop").setLevel("INFO")
    asyncio.run(Scene().run())
