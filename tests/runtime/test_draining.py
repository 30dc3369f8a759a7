"""The order in which a silo that drains ends its activations, and that it creates no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import svcs

from grange import Grain
from grange.grains.deactivation import DeactivationReason
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.draining import MAX_CONCURRENT_DEACTIVATIONS
from grange.runtime.activations.phase import Phase
from grange.runtime.activations.workers import WorkerPool
from grange.runtime.requests.refusal import Refused
from tests.runtime.process import Process, RecordedCall, settle

Make = Callable[..., Process]


class Holds:
    """The events that turns and deactivations of a test wait for."""

    def __init__(self) -> None:
        self.turns = asyncio.Event()
        self.ends = asyncio.Event()


class Lodger(Grain):
    def __init__(self, holds: Holds) -> None:
        self.holds = holds

    async def look(self) -> str:
        return self.key

    async def stay(self) -> str:
        await self.holds.turns.wait()
        return self.key

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        await self.holds.ends.wait()


class Worker(Grain, stateless_workers=4):
    def __init__(self, holds: Holds) -> None:
        self.holds = holds

    async def stay(self) -> str:
        await self.holds.turns.wait()
        return self.key


def made(process: Make, grain: type[Grain[Any]]) -> tuple[Process, Holds]:
    holds, registry = Holds(), svcs.Registry()
    registry.register_value(Holds, holds)
    return process(grain, services=registry), holds


async def test_a_busy_activation_serves_until_the_idle_ones_are_gone(process: Make) -> None:
    here, holds = made(process, Lodger)
    busy = here.grains.get_grain(Lodger, "busy")
    staying = asyncio.create_task(busy.stay())
    await settle()
    for number in range(MAX_CONCURRENT_DEACTIVATIONS + 1):
        await here.grains.get_grain(Lodger, str(number)).look()
    drained = asyncio.create_task(here.catalog.drain())
    await settle()
    target = here.catalog.find(busy.id)
    assert isinstance(target, Activation)
    phases = [each.phase for each in here.catalog.activations() if each is not target]
    assert (phases.count(Phase.ENDING), phases.count(Phase.ACTIVE)) == (MAX_CONCURRENT_DEACTIVATIONS, 1)
    assert target.phase is Phase.ACTIVE
    holds.ends.set()
    holds.turns.set()
    await drained
    assert await staying == "busy"


async def test_a_pool_of_a_draining_silo_creates_no_workers(process: Make) -> None:
    """The drain would not end them: it has listed the activations already."""
    here, holds = made(process, Worker)
    worker = here.grains.get_grain(Worker, "a")
    staying = asyncio.create_task(worker.stay())
    await settle()
    drained = asyncio.create_task(here.catalog.drain())
    await settle()
    refused: list[Refused] = []
    here.catalog.deliver(RecordedCall(worker.id, refused, "stay"))
    await settle()
    pool = here.catalog.find(worker.id)
    assert isinstance(pool, WorkerPool)
    assert len(pool.workers) == len(refused) == 1
    holds.turns.set()
    await drained
    assert await staying == "a"
