"""Exercise 6, an outbox: events are stored with what caused them, and two consumers poll the table of events.

In a database, two consumers of one table need a lock on each row. Here the table belongs to a grain, which does one
thing at a time, so no two consumers get one event. A consumer may crash between the effect and its acknowledgement:
then the event comes again, and the grain with the effect recognises its number. See `docs/how-to/outbox.md`.
"""

from __future__ import annotations

import asyncio

from examples.recipes.inbox import Report
from examples.recipes.outbox import PATIENCE, Event, Shop, consume
from grange.testing import TestCluster


class Crash(Exception):
    """The end of a consumer."""


async def consumer(name: str, cluster: TestCluster, seconds: float, crashes_after: str = "") -> None:
    """Handle events, each in so many seconds."""
    report = cluster.get_grain(Report, "corner")

    async def handle(event: Event) -> None:
        await asyncio.sleep(seconds)
        noted = await report.note(event)
        print(f"{name}: {event.number}, {event.text}" + ("" if noted else ", was noted before"))
        if event.text == crashes_after:
            print(f"{name} crashes before it acknowledges {event.number}")
            raise Crash

    try:
        await consume(cluster.get_grain(Shop, "corner"), handle)
    except Crash:
        return


async def main() -> None:
    """Four events, two consumers, and a crash."""
    async with TestCluster(grains=[Shop, Report], silos=2) as cluster:
        for item in ("pear", "plum", "fig", "date"):
            await cluster.get_grain(Shop, "corner").sell(item)
        one = asyncio.create_task(consumer("one", cluster, 1))
        two = asyncio.create_task(consumer("two", cluster, 1.5, crashes_after="sold plum"))
        await cluster.advance(PATIENCE + 3)
        one.cancel()
        await asyncio.gather(one, two, return_exceptions=True)
        print(sorted(await cluster.get_grain(Report, "corner").lines()))


if __name__ == "__main__":
    asyncio.run(main())
