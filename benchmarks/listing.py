"""The cost of looking at a silo with many activations: `python -m benchmarks.listing`.

Seconds and longest hold of the event loop: of the status, the figures and lists, at 1,000 and 1,000,000 activations.
The silo runs in real time, because in virtual time its sweeps for idle activations would run again and again.
"""

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.holds import watched
from grange import Grain
from grange.cli.garbage import settle
from grange.proto.inspection import FindActivations
from grange.silo import Silo

SIZES = (1_000, 1_000_000)
ROUNDS = 9


class Empty(Grain[int]):
    """An empty grain."""

    async def ping(self) -> int:
        """Return at once."""
        return 0


async def measure(size: int) -> dict[str, Any]:
    """All questions to one silo that holds so many activations."""
    silo = Silo([Empty], cluster="listing", membership="memory://", storage="memory://", port=0, gateway_port=0)
    async with silo:
        for number in range(size):
            await silo.get_grain(Empty, number).ping()
        find = silo.inspection.find

        async def status() -> None:
            silo.management.state()

        async def figures() -> None:
            silo.inspection.figures.snapshot()

        questions: dict[str, Callable[[], Awaitable[object]]] = {
            "status": status,
            "figures": figures,
            "list": lambda: find(FindActivations()),
            "list by age": lambda: find(FindActivations(sort="age", limit=200)),
            "list by text": lambda: find(FindActivations(contains="99", sort="idle", limit=200)),
            "list by waiting": lambda: find(FindActivations(sort="waiting", limit=200)),
        }
        gc.collect()
        gc.freeze()
        found = {name: await _ask(question) for name, question in questions.items()}
        await silo.kill()  # an orderly stop would end a million activations one by one
        return found


async def _ask(question: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    """The median of the processor time, and the longest hold."""
    seconds: list[float] = []
    with watched() as holds:
        for _ in range(ROUNDS):
            began = time.process_time()
            await question()
            seconds.append(time.process_time() - began)
    return {"seconds": sorted(seconds)[ROUNDS // 2], **holds.document()}


def main() -> None:
    """Print all figures, and the ratio of the status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listing", description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[1], help="activations in the large silo (1,000,000)")
    sizes = SIZES[0], parser.parse_args().most
    settle(gc.get_threshold())
    found: dict[int, dict[str, Any]] = {}
    for size in sizes:
        found[size] = asyncio.run(measure(size))
        print(size, json.dumps(found[size], indent=1), flush=True)
    small, large = (found[size]["status"]["seconds"] for size in sizes)
    print(f"status: {large / small:.2f} times as long (target: at most 2)")


if __name__ == "__main__":
    main()
