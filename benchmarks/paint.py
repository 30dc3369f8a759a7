"""The time until a page of the dashboard is painted: `python -m benchmarks.paint`. It needs Debian's chromium.

A silo with 30 grain types serves the pages over loopback. Each page is opened in a profile without a cache. The first
paint shows its frame and title, the second figure is the time until its first figures are there.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from benchmarks.scrape import METHODS, TYPES, grain_type
from grange.silo.silo import Silo

ROUNDS = 5
TARGET = 1.0
"""Seconds until the first paint on an idle machine."""

PAGES = {"Overview": "/", "Silos": "/silos", "Grains": "/grains"}
TOKEN = "the-token-of-this-benchmark"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


async def measure(place: str, program: str) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds until the first paint, and until the first figures, of each page in each round."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in PAGES}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        for _ in range(ROUNDS):
            for name, path in PAGES.items():
                context: Any = await browser.new_context()
                page = await context.new_page()
                await page.request.post(
                    f"http://{place}/api/login", data={"token": TOKEN}, headers={"Sec-Fetch-Site": "same-origin"}
                )
                await page.goto(f"http://{place}{path}")
                await page.locator(".pulse", has_text="live").wait_for()
                shown = await page.evaluate("performance.now()")
                paint = await page.evaluate(PAINT)
                found[name][0].append(paint / 1000)
                found[name][1].append(shown / 1000)
                await context.close()
        await browser.close()
    return found


async def main() -> None:
    """Measure and print."""
    program = shutil.which("chromium")
    if program is None:
        print("first paint: not measured: there is no chromium; see scripts/install-programs", file=sys.stderr)
        return
    types = [grain_type(number) for number in range(TYPES)]
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"port": 0, "gateway_port": 0, "http": 0, "admin_token": TOKEN, "data": Path(folder)}
        async with Silo(types, membership="memory://", storage="memory://", **options) as silo:
            for each, number in product(types, range(METHODS)):
                await getattr(silo.get_grain(each, "a"), f"method_{number}")()
            found = await measure(silo.http, program)
    for name, (paints, shown) in found.items():
        paint = statistics.median(paints)
        verdict = "ok" if paint <= TARGET else "too slow"
        print(
            f"{name}: first paint {paint * 1000:.0f} ms (target {TARGET * 1000:.0f} ms: {verdict}), "
            f"figures after {statistics.median(shown) * 1000:.0f} ms"
        )


if __name__ == "__main__":
    asyncio.run(main())
