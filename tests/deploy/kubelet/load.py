"""Callers in the cluster's network, a process of its own: `python -m tests.deploy.kubelet.load`.

Reads JSON lines from standard input and answers each with one: first its orders, then questions. It ends, with a last
line, when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter as Tally
from typing import Any

from grange.client import Client
from tests.deploy.kubelet.app import Account, Worker

CALLERS = 12
PAUSE = 0.005
"""Seconds between two calls of a caller: two cores also run the silos, the stores and other tests."""

FIGURES = (0.5, 0.99, 0.999)


class Load:
    """Callers with short pauses: a quarter of them call a grain that stores, the others a grain without state."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._took: list[float] = []
        self._stored: Tally[str] = Tally()
        self._failed: list[str] = []
        self._gate = asyncio.Event()

    async def call(self, number: int) -> None:
        """Run one caller until cancelled. A failed call is counted."""
        while True:
            await self._gate.wait()
            began = time.monotonic()
            try:
                if number % 4 == 0:
                    await self._client.get_grain(Account, f"account-{number}").add()
                    self._stored[f"account-{number}"] += 1
                else:
                    await self._client.get_grain(Worker, f"worker-{number}-{len(self._took) % 50}").version()
            except Exception as error:
                self._failed.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.05)
            self._took.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE)

    async def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """One line of input, one line of output."""
        match question:
            case {"do": "call"}:
                self._gate.set()
            case {"do": "pause"}:
                self._gate.clear()
            case {"do": "forget"}:
                self._took.clear()
            case {"do": "compute", "key": key, "seconds": seconds}:
                return {"pod": await self._client.get_grain(Worker, key).compute(seconds)}
            case {"do": "versions"}:
                workers = [self._client.get_grain(Worker, f"asked-{number}") for number in range(60)]
                return {"versions": sorted(set(await asyncio.gather(*(each.version() for each in workers))))}
            case _:
                raise ValueError(f"unknown question {question}")
        return self.figures()

    def figures(self) -> dict[str, Any]:
        took = sorted(self._took) or [0.0]
        return {
            "calls": len(self._took),
            "failed": len(self._failed),
            "errors": self._failed[:5],
            "ms": {f"p{share * 100:g}": round(took[int(len(took) * share)] * 1000, 1) for share in FIGURES},
            "max_ms": round(took[-1] * 1000, 1),
        }

    async def lost(self) -> dict[str, str]:
        """Accounts without all acknowledged additions; each caller may have had one more call under way."""
        wrong: dict[str, str] = {}
        for key, acknowledged in self._stored.items():
            total = await self._client.get_grain(Account, key).total()
            if not acknowledged <= total <= acknowledged + 1 + len(self._failed):
                wrong[key] = f"{total}, acknowledged {acknowledged}"
        return wrong


async def main() -> None:
    loop = asyncio.get_running_loop()
    orders = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    async with Client([orders["gateway"]], cluster=orders["cluster"], response_timeout=60.0) as client:
        load = Load(client)
        callers = [asyncio.create_task(load.call(number)) for number in range(CALLERS)]
        write({"connected": True})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            write(await load.answer(json.loads(line)))
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        write({"lost": await load.lost(), **load.figures()})


def write(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
