"""Five times the capacity, a hot grain and a flooding client, in real processes: every call ends, and work goes on.

It asserts outcomes, not times; `python -m benchmarks.overload` measures them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.overload import Record, Worker, closed, opened
from grange.client import Client
from tests.processes.silo_process import PATIENCE, Silos

APP = "tests.processes.overloaded:silo"
ERRORS = {"CallTimeout", "Overloaded", "SiloUnavailable", "CallNotExecuted"}


def calls(client: Client, first: int, count: int) -> Callable[[int], Callable[[], Awaitable[object]]]:
    grains = [client.get_grain(Worker, number) for number in range(first, first + count)]
    return lambda number: grains[number % count].work


async def some_good(load: Callable[[], Awaitable[Record]]) -> Record:
    """Run the load until a call of it succeeds. On a busy machine the silo may stand still and be fenced meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while True:
            record = await load()
            assert set(record.errors) <= ERRORS
            if record.good:
                return record


async def test_more_calls_than_a_silo_can_run_leave_some_of_them_good(silos: Silos) -> None:
    silo = await silos.run(app=APP)
    async with Client([silo.gateway]) as client:
        usual = await some_good(lambda: closed(calls(client, 0, 100), 10, 1))
        await some_good(lambda: opened(calls(client, 0, 100), 5 * len(usual.good), 4))
        await some_good(lambda: closed(calls(client, 0, 100), 5, 1))
    assert await silo.stop() == 0


async def test_a_flooding_client_leaves_room_for_others(silos: Silos) -> None:
    silo = await silos.run(app=APP)
    async with Client([silo.gateway], name="flood") as flood, Client([silo.gateway], name="other") as other:
        flooding = asyncio.create_task(opened(calls(flood, 1000, 100), 5000, 4))
        await asyncio.sleep(1)
        await some_good(lambda: closed(calls(other, 0, 10), 5, 2))
        assert set((await flooding).errors) <= ERRORS
    assert await silo.stop() == 0
