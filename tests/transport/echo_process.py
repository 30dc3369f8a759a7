"""A process with one listener that answers every request; prints its port. Started by test_grpc_process."""

from __future__ import annotations

import asyncio

from tests.transport.net import Net


async def serve() -> None:
    """Listen until this process is killed."""
    net = Net("grpc")
    silo = await net.silo(net.transport(), echo=True)
    print(silo.address.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
