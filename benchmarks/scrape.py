"""How long a scrape of a silo with 30 grain types takes. `python -m benchmarks.scrape` prints the times.

One silo, 30 types of 6 methods, each method called. A scrape is one GET over loopback; below it the text alone, which
is what the admin thread takes from the interpreter lock.
"""

from __future__ import annotations

import asyncio
import http.client
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

from grange import Grain
from grange.observability.prometheus import OPENMETRICS, openmetrics_text, prometheus_text
from grange.silo.silo import Silo

TYPES, METHODS, ROUNDS = 30, 6, 30
TARGET = 0.020
"""Seconds of a scrape on an idle machine."""


def grain_type(number: int) -> type[Grain[str]]:
    """A grain class with `METHODS` methods."""

    async def method(self: Grain[str]) -> None:
        pass

    methods = {f"method_{each}": method for each in range(METHODS)}
    return type(f"Type{number}", (Grain,), {**methods, "__module__": __name__})


def seconds(action: Callable[[], object]) -> list[float]:
    """The seconds of each of some runs."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return taken


def scrape(place: str, accept: str) -> int:
    """One scrape; returns the bytes of the text."""
    connection = http.client.HTTPConnection(place, timeout=10)
    try:
        connection.request("GET", "/metrics", headers={"Accept": accept})
        return len(connection.getresponse().read())
    finally:
        connection.close()


async def main() -> None:
    """Measure and print."""
    types = [grain_type(number) for number in range(TYPES)]
    with tempfile.TemporaryDirectory() as folder:
        silo = Silo(
            types, port=0, gateway_port=0, http=0, membership="memory://", storage="memory://", data=Path(folder)
        )
        async with silo:
            for cls, each in product(types, range(METHODS)):
                await getattr(silo.get_grain(cls, "a"), f"method_{each}")()
            await asyncio.sleep(1.1)  # until the figures are renewed
            size = await asyncio.to_thread(scrape, silo.http, "text/plain")
            figures = silo.publisher.latest()
            rows = {
                "a scrape, text": await asyncio.to_thread(seconds, lambda: scrape(silo.http, "text/plain")),
                "a scrape, OpenMetrics": await asyncio.to_thread(seconds, lambda: scrape(silo.http, OPENMETRICS)),
                "the text alone": seconds(lambda: prometheus_text(figures)),
                "OpenMetrics alone": seconds(lambda: openmetrics_text(figures)),
            }
    print(f"{TYPES} types of {METHODS} methods, {prometheus_text(figures).count(chr(10))} lines, {size / 1000:.0f} kB")
    print(f"{'':24}{'least ms':>10}{'median ms':>11}   target {TARGET * 1000:g}")
    for name, times in rows.items():
        print(f"{name:24}{min(times) * 1000:>10.1f}{statistics.median(times) * 1000:>11.1f}")


if __name__ == "__main__":
    asyncio.run(main())
