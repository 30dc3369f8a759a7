"""A client that is connected to every silo and makes no calls: `python -m tests.processes.faults.idle_client`.

Reads one JSON line, its orders, from standard input, prints a line when it is connected, and ends with its input.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

from grange.client import Client
from tests.processes.faults.load import Orders


async def main() -> None:
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    async with Client(orders.gateways, cluster=orders.cluster, name=orders.name, tls=orders.tls) as client:
        for gateway in client.gateways:
            await client.ask(gateway, "management.view")
        print("connected", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
