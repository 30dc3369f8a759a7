"""The load of every row, a process of its own: `python -m tests.processes.faults.load`.

Reads one JSON line, its orders, from standard input, runs until standard input ends, and prints a JSON line when it is
connected and one at its end. The history file gets a line before each call and a line at its end.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from grange.client import Client
from grange.testing.checks.history import Recorder
from tests.processes.faults.grains import Counter, Echo, Register

IN_FLIGHT_LIMIT = 2000


class Orders(msgspec.Struct, frozen=True):
    """The orders of a load: `rate` calls per second to grains whose keys begin with `name`."""

    gateways: list[str]
    cluster: str
    name: str
    history: str
    seed: int
    rate: float = 160.0
    counters: int = 80
    registers: int = 10
    echoes: int = 60
    response_timeout: float = 10.0
    tls: dict[str, str] = {}


class Load:
    """Makes calls at random times, independent of earlier calls, and runs two alternating callers on each register."""

    def __init__(self, client: Client, recorder: Recorder, orders: Orders) -> None:
        self._client = client
        self._recorder = recorder
        self._orders = orders
        self._rng = random.Random(orders.seed)
        self._calls: set[asyncio.Task[None]] = set()
        self._content = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`, then until every call has ended. Then call every grain once: a grain may have got no call
        since its last failure, and the round must know whether it answers again.
        """
        callers = [asyncio.create_task(self._use_register(number, stop)) for number in range(self._orders.registers)]
        callers += [asyncio.create_task(self._use_register(number, stop)) for number in range(self._orders.registers)]
        while not stop.is_set():
            await asyncio.sleep(self._rng.expovariate(self._orders.rate))
            if len(self._calls) < IN_FLIGHT_LIMIT:
                task = asyncio.create_task(self._any_call())
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
        await asyncio.gather(*callers, *self._calls)
        for number in range(self._orders.counters):
            await self._total(f"{self._orders.name}-{number}")
        for number in range(self._orders.echoes):
            await self._echo(f"{self._orders.name}-{number}")

    async def _any_call(self) -> None:
        rng = self._rng.random()
        counter = f"{self._orders.name}-{self._rng.randrange(self._orders.counters)}"
        if rng < 0.55:
            await self._call(
                "increment", counter, None, lambda call: self._client.get_grain(Counter, counter).add(call)
            )
        elif rng < 0.7:
            await self._total(counter)
        else:
            await self._echo(f"{self._orders.name}-{self._rng.randrange(self._orders.echoes)}")

    async def _total(self, key: str) -> None:
        await self._call("total", key, None, self._client.get_grain(Counter, key).total)

    async def _echo(self, key: str) -> None:
        await self._call("echo", key, None, self._client.get_grain(Echo, key).say)

    async def _use_register(self, number: int, stop: asyncio.Event) -> None:
        key = f"{self._orders.name}-{number}"
        register = self._client.get_grain(Register, key)
        while not stop.is_set():
            await asyncio.sleep(self._rng.uniform(0.2, 0.8))
            if self._rng.random() < 0.5:
                await self._call("read", key, None, register.get)
            else:
                self._content += 1
                content = self._content
                await self._call("write", key, content, lambda call, content=content: register.put(call, content))

    async def _call(self, op: str, key: str, value: Any, make: Callable[[str], Awaitable[Any]]) -> None:
        event = self._recorder.invoke(self._orders.name, op, key, value)
        try:
            result = await make(f"{event.client}/{event.call}")
        except Exception as error:  # every error is an outcome, and is recorded
            self._recorder.failed(event, error)
        else:
            self._recorder.ok(event, result)


async def main() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    orders = msgspec.json.decode(await lines.readline(), type=Orders)
    stop = asyncio.Event()
    with Path(orders.history).open("w") as file:
        recorder = Recorder(time.monotonic, file)
        async with Client(
            orders.gateways,
            cluster=orders.cluster,
            name=orders.name,
            response_timeout=orders.response_timeout,
            tls=orders.tls or None,
        ) as client:
            print(json.dumps({"event": "connected", "pid": os.getpid()}), flush=True)
            running = asyncio.create_task(Load(client, recorder, orders).run(stop))
            reading = asyncio.create_task(lines.read())
            await asyncio.wait((running, reading), return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            await running
            await reading
    print(json.dumps({"event": "ended"}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
