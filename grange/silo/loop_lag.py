"""Measures by how much the event loop is late: a timer that fires late has waited for other callbacks."""

from __future__ import annotations

import asyncio

from grange.observability.histogram import Histogram

PERIOD = 0.05
"""Seconds between two measurements. A callback that holds the loop for longer is always seen."""


async def measure_lag(lag: Histogram) -> None:
    """Add to `lag`, in seconds, until cancelled. It takes about 10 microseconds of each period."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + PERIOD
        await asyncio.sleep(PERIOD)
        lag.observe(max(0.0, loop.time() - due))
