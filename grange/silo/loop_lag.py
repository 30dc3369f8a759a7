"""Measures by how much the event loop is late: a timer that fires late has waited for other callbacks."""

from __future__ import annotations

import asyncio

from grange.observability.events import Events
from grange.observability.histogram import Histogram
from grange.observability.turn_events import LoadShed
from grange.runtime.calls.load_shedding import LoadShedder

PERIOD = 0.05
"""Seconds between two measurements. A callback that holds the loop for longer is always seen."""


async def measure_lag(lag: Histogram, shedder: LoadShedder, events: Events) -> None:
    """Add to `lag`, in seconds, until cancelled, and tell it to `shedder`. It takes 10 microseconds of a period."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + PERIOD
        await asyncio.sleep(PERIOD)
        late = max(0.0, loop.time() - due)
        lag.observe(late)
        if shedder.measured(late):
            events.publish(LoadShed(shedder.lag))
