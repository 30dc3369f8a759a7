"""A client in a process of its own: calls without a pause until its standard input ends, and prints what it has done.

It runs with the classes of the tree on its path, so it is a client of either release.
"""

from __future__ import annotations

import asyncio
import json
import sys

from grange.client import Client
from tests.processes.counters import Counter, Probe

CALLERS = 4


async def call(client: Client, name: str, number: int, stored: dict[str, int], calls: list[int]) -> None:
    """One caller: half of its calls are stored. Any error ends the process."""
    while True:
        key = f"{name}-{number}"
        await client.get_grain(Counter, key).add()
        stored[key] = stored.get(key, 0) + 1
        await client.get_grain(Probe, f"{key}-{calls[0] % 50}").pid_of(f"{key}-callee-{calls[0] % 40}")
        calls[0] += 2
        if calls[0] % 500 == 0:
            print(f"called {calls[0]}", flush=True)


async def until_input_ends() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main(name: str, gateways: list[str]) -> None:
    stored: dict[str, int] = {}
    calls = [0]
    async with Client(gateways, response_timeout=45.0) as client:
        print("connected", flush=True)
        callers = [asyncio.create_task(call(client, name, number, stored, calls)) for number in range(CALLERS)]
        end = asyncio.create_task(until_input_ends())
        await asyncio.wait((end, *callers), return_when=asyncio.FIRST_COMPLETED)
        for each in (end, *callers):
            each.cancel()
        failed = [
            repr(each) for each in await asyncio.gather(*callers, return_exceptions=True) if isinstance(each, Exception)
        ]
        for key, count in stored.items():
            total = await client.get_grain(Counter, key).total()
            if not count <= total <= count + 1:
                failed.append(f"{key}: {count} additions were acknowledged, and the total is {total}")
    print(json.dumps({"calls": calls[0], "failed": failed}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
