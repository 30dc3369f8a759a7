"""The times of spans, on a loop whose own time stands still for an iteration."""

from __future__ import annotations

import random
import time

import uvloop

from grange.observability.telemetry import Process, Telemetry
from grange.observability.tracing import tracing


def test_spans_are_measured_exactly_on_uvloop() -> None:
    async def look() -> bool:
        async with tracing(
            Telemetry(sample=1.0), Process(service="shop", cluster="default", name="silo-1"), random.Random(1)
        ) as spans:
            assert spans is not None
            return spans.time is time.monotonic

    assert uvloop.run(look())
