"""Exercise 13, the client: it knows the contract and the address of a gateway, and no code of the grain.

`python -m examples.lecture.13_client 127.0.0.1:30000`, while `grange run examples.lecture.13_silo:silo` runs.
"""

from __future__ import annotations

import asyncio
import sys

from examples.lecture.contract_13 import Hello
from grange.client import Client


async def main(gateways: list[str]) -> None:
    """Call through a gateway; more of them may be named, and the client finds the others by itself."""
    async with Client(gateways) as client:
        hello = client.get_grain(Hello, "the door")  # typed as Hello; nothing is sent yet
        for name in ("Ann", "Bob"):
            print(await hello.greet(name))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["127.0.0.1:30000"]))
