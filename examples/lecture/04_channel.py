"""Exercise 4, a channel: a bounded queue between those who ask and slow work.

The queue is the mailbox of the grain. `@one_way` returns as soon as the message is handed over. A full mailbox refuses:
the producer learns that, and waits. So neither of them fills the memory of the other.
"""

from __future__ import annotations

import asyncio

from grange import Grain, Overloaded, one_way
from grange.testing import TestCluster


class Printer(Grain, mailbox_limit=5):
    """Prints one page a second. At most five pages wait."""

    def __init__(self) -> None:
        self.printed = 0

    async def print_page(self, page: int) -> int:
        """Print; returns the number of pages so far."""
        await asyncio.sleep(1)
        self.printed += 1
        return self.printed

    @one_way
    async def print_later(self, page: int) -> None:
        """The same, for a producer that needs no answer."""
        await self.print_page(page)


async def produce(printer: Printer, pages: int) -> int:
    """Send all pages; returns how often the queue was full. A refused call was certainly not executed: repeat it."""
    full = 0

    async def send(page: int) -> None:
        nonlocal full
        while True:
            try:
                await printer.print_page(page)
                return
            except Overloaded as refusal:
                full += 1
                await asyncio.sleep(refusal.retry_after or 0.5)

    await asyncio.gather(*(send(page) for page in range(pages)))
    return full


async def main() -> None:
    """Three pages without an answer, then twenty at once into a queue for five."""
    async with TestCluster(grains=[Printer], silos=2) as cluster:
        now = asyncio.get_running_loop().time
        printer, began = cluster.get_grain(Printer, "office"), now()
        for page in range(3):
            await printer.print_later(page)
        print(f"three pages are handed over after {now() - began:.1f} s")
        full = await produce(printer, 20)
        print(f"all 23 pages are printed after {now() - began:.0f} s; the queue was full: {full > 0}")


if __name__ == "__main__":
    asyncio.run(main())
