"""A silo whose grains call each other in the ways that the wire carries: `grange run tests.processes.crossing:silo`."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID

from grange import (
    DeadlockError,
    Grain,
    SiloAddress,
    always_interleave,
    cancellable,
    one_way,
    request_context,
    response_timeout,
)
from grange.placement import by_label
from grange.silo import Silo


class Broken(Exception):
    """An error of the application, known on both sides."""


class Number(Grain[int], name="number"):
    async def get(self) -> int:
        return self.key


class Ident(Grain[UUID], name="ident"):
    async def get(self) -> UUID:
        return self.key


class Pair(Grain[tuple[str, int]], name="pair"):
    async def get(self) -> tuple[str, int]:
        return self.key


class Worker(Grain, name="worker", stateless_workers=2):
    async def pid(self) -> int:
        return os.getpid()


class Beside(Grain, name="beside", placement="prefer_local"):
    async def pid(self) -> int:
        return os.getpid()


class OnGpu(Grain, name="on_gpu", placement=by_label("random", require="gpu")):
    async def pid(self) -> int:
        return os.getpid()


class Actor(Grain, name="actor", placement="random", errors=[Broken]):
    """Records what was done to it, and does it to others."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def pid(self) -> int:
        return os.getpid()

    @always_interleave
    async def seen(self) -> list[str]:
        return self.events

    async def finish(self) -> str:
        self.deactivate_when_idle()
        return self.activation_id

    async def activation(self) -> str:
        return self.activation_id

    async def end_of(self, other: str) -> list[str]:
        """End another grain, which this one has just called; returns the activations before and after."""
        actor = self.get_grain(Actor, other)
        return [await actor.activation(), await actor.finish(), await actor.activation()]

    async def fail(self, text: str) -> None:
        raise Broken(text, 7)

    async def fail_of(self, other: str, text: str) -> None:
        await self.get_grain(Actor, other).fail(text)

    @response_timeout(0.5)
    async def be_late(self) -> None:
        await asyncio.sleep(2)

    async def be_late_of(self, other: str) -> str:
        try:
            await self.get_grain(Actor, other).be_late()
        except TimeoutError as error:
            return type(error).__name__
        return ""

    @one_way
    async def hit(self, text: str) -> None:
        self.events.append(text)

    async def hit_of(self, other: str, text: str) -> None:
        await self.get_grain(Actor, other).hit(text)

    async def change(self, items: list[str]) -> list[str]:
        items.append(self.key)
        return items

    async def change_of(self, other: str, items: list[str]) -> tuple[list[str], list[str]]:
        """Let the other grain change a list; returns its answer, and the list here."""
        return await self.get_grain(Actor, other).change(items), items

    async def user(self) -> str:
        return str(request_context.get("user"))

    async def users(self, other: str) -> list[str]:
        """What this grain and the other see; then the other again, without the value."""
        found = [await self.user(), await self.get_grain(Actor, other).user()]
        request_context.pop("user")
        return [*found, await self.get_grain(Actor, other).user()]

    @cancellable
    async def work(self) -> None:
        self.events.append("began")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise

    @cancellable
    async def work_of(self, other: str) -> None:
        await self.get_grain(Actor, other).work()

    async def endless(self) -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                yield number
                await asyncio.sleep(0.001)
        finally:
            self.events.append("closed")

    async def first_of(self, other: str, count: int) -> list[int]:
        """Take this many items of an endless stream of the other grain, then leave it."""
        found: list[int] = []
        async with aclosing(self.get_grain(Actor, other).endless()) as items:  # type: ignore[type-var]
            async for item in items:
                found.append(item)
                if len(found) == count:
                    break
        return found

    async def stream_of(self, other: str) -> AsyncIterator[int]:
        """Pass on the stream of the other grain."""
        async for item in self.get_grain(Actor, other).endless():
            yield item

    async def wait_and_ask(self, other: str) -> str:
        """Ask the other grain once it is busy; the cycle, if the call is refused for one."""
        self.events.append("waits")
        actor = self.get_grain(Actor, other)
        while "waits" not in await actor.seen():
            await asyncio.sleep(0.01)
        try:
            return str(await actor.pid())
        except DeadlockError as error:
            return " -> ".join(str(grain) for grain, _ in error.cycle)

    async def tick_to(self, other: str) -> None:
        """Start a timer that calls the other grain once."""

        async def tick() -> None:
            await self.get_grain(Actor, other).hit("tick")

        self.start_timer(tick, 0.01)

    async def worker_pid(self, key: str) -> int:
        return await self.get_grain(Worker, key).pid()

    async def beside_pid(self, key: str) -> int:
        return await self.get_grain(Beside, key).pid()


class Basket(Grain, name="basket", placement="random"):
    """Keeps its items in memory only, and moves with them."""

    def __init__(self) -> None:
        self.items: list[str] = []

    async def pid(self) -> int:
        return os.getpid()

    async def add(self, item: str) -> list[str]:
        self.items.append(item)
        return self.items

    async def activation(self) -> str:
        return self.activation_id

    async def move(self, host: str, port: int, generation: int) -> None:
        self.migrate_when_idle(SiloAddress(host, port, generation))

    async def dehydrate(self) -> list[str]:
        return self.items

    async def rehydrate(self, memory: list[str]) -> None:
        self.items = memory


silo = Silo(grains=[Number, Ident, Pair, Worker, Beside, OnGpu, Actor, Basket])
