"""Exercise 2, async and await: the same calls, but the caller waits for many of them at once.

No thread is held while a call is under way. The seconds are those of the cluster: it runs in virtual time.
"""

from __future__ import annotations

import asyncio

from grange import Grain
from grange.testing import TestCluster

CALLS = 100


class Slow(Grain):
    """Needs 10 ms for each call, as a query to a database would."""

    async def work(self) -> str:
        """Wait, and say which grain did it."""
        await asyncio.sleep(0.01)
        return str(self.key)


async def main() -> None:
    """One hundred calls: one after another, all at once to many grains, all at once to one grain."""
    async with TestCluster(grains=[Slow], silos=2) as cluster:
        now = asyncio.get_running_loop().time
        grains = [cluster.get_grain(Slow, f"{number}") for number in range(CALLS)]
        began = now()
        for grain in grains:
            await grain.work()
        print(f"one after another: {now() - began:.2f} s")

        began = now()
        await asyncio.gather(*(grain.work() for grain in grains))
        print(f"all at once, {CALLS} grains: {now() - began:.2f} s")

        began = now()
        await asyncio.gather(*(grains[0].work() for _ in range(CALLS)))
        print(f"all at once, one grain: {now() - began:.2f} s, because a grain does one thing at a time")


if __name__ == "__main__":
    asyncio.run(main())
