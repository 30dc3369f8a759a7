"""A process with one door that answers every request; prints its port. Started by test_grpc_process."""

from __future__ import annotations

import asyncio

from tests.transport.net import Net


async def serve() -> None:
    """Listen until somebody ends this process."""
    net = Net("grpc")
    site = await net.site(net.transport(), echo=True)
    print(site.address.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
