"""Exercise 15, persistence: a counter survives the death of its silo, because it is stored.

Without an argument the state is in a file of SQLite. With the URL of a database it is there:
`python -m examples.lecture.15_persistence postgresql://ann:secret@127.0.0.1/shop`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass

from grange import Grain, PersistentState
from grange.silo import Silo


@dataclass
class Count:
    """What is stored."""

    number: int = 0


class Counter(Grain):
    """The state is loaded before the first call, and stored when `write` says so."""

    def __init__(self, count: PersistentState[Count]) -> None:
        self.count = count
        self.unsaved = 0

    async def add(self) -> int:
        """Count, and store it: when this returns, it is not lost any more."""
        self.count.value.number += 1
        self.unsaved += 1
        await self.count.write()
        return self.count.value.number

    async def show(self) -> str:
        """What is stored, and what is only in memory."""
        return f"{self.count.value.number} stored, {self.unsaved} in memory only"


def silo_at(storage: str) -> Silo:
    """A silo with this storage, on free ports."""
    return Silo(grains=[Counter], storage=storage, membership="memory://", port=0, gateway_port=0)


async def main(storage: str) -> None:
    """Count three times, kill the silo, and look again in a new one."""
    first = silo_at(storage)
    await first.start()
    counter = first.get_grain(Counter, "visitors")
    for _ in range(3):
        await counter.add()
    print(await counter.show())
    await first.kill()
    async with silo_at(storage) as second:
        print(await second.get_grain(Counter, "visitors").show())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/state.db"))
