"""Exercise 1, message passing: a producer calls a consumer in a loop, and waits for each answer.

The consumer is a grain: it is named by type and key, not by address. Which silo has it is not the producer's concern.
"""

from __future__ import annotations

import asyncio

from grange import Grain
from grange.testing import TestCluster


class Consumer(Grain):
    """Takes messages, one at a time, in the order in which they come."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self, message: str) -> str:
        """Take one message; returns what was done with it."""
        self.taken += 1  # no lock: no other call runs in this grain meanwhile
        return f"{message} was number {self.taken}"


async def produce(consumer: Consumer) -> None:
    """The producer: it sends the next message when the answer to the one before is there."""
    for message in ("red", "green", "blue"):
        print(await consumer.take(message))


async def main() -> None:
    """Two silos; the consumer is on one of them, the producer is a client outside."""
    async with TestCluster(grains=[Consumer], silos=2) as cluster:
        await produce(cluster.get_grain(Consumer, "colours"))
        other = cluster.get_grain(Consumer, "shapes")  # another key: another grain, with a count of its own
        print(await other.take("square"))


if __name__ == "__main__":
    asyncio.run(main())
