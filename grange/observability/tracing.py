"""Traces while a silo or client runs: makes its `Spans`, and opens their exporter. The only importer of `otel.py`."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib import import_module
from typing import Any

from grange.aio.steady import steady_clock
from grange.clock import utc_now
from grange.errors import ConfigurationError
from grange.observability.snapshot import Snapshot
from grange.observability.spans import Spans
from grange.observability.telemetry import ENDPOINT, Process, Telemetry, can_export


@asynccontextmanager
async def tracing(
    telemetry: Telemetry | None, process: Process, rng: random.Random, now: Callable[[], datetime] = utc_now
) -> AsyncGenerator[Spans | None]:
    """Trace while the `async with` lasts; its end sends what is left, within 2 s. None without telemetry.

    `now` is the date and time; `rng` seeds the ids. Raises ConfigurationError if OpenTelemetry is needed and
    not installed.
    """
    if telemetry is None:
        yield None
        return
    ids = random.Random(rng.getrandbits(128))  # noqa: S311 no secret
    spans = Spans(telemetry.sample, ids, lambda: now().timestamp(), steady_clock(), grain_keys=telemetry.grain_keys)
    wanted = telemetry.exporter is not None or bool(os.environ.get(ENDPOINT))
    if not can_export():
        if wanted:
            raise ConfigurationError(
                "to export spans, install opentelemetry-sdk and opentelemetry-exporter-otlp-proto-grpc "
                "(they are the extra 'otel' of grange)"
            )
        yield spans
        return
    otel = await _otel()
    spans.outside = otel.ApplicationTracing()
    async with otel.exporting(telemetry, process) as sink:
        spans.sink = sink
        yield spans


@asynccontextmanager
async def exporting_figures(
    telemetry: Telemetry | None, process: Process, figures: Callable[[], Snapshot]
) -> AsyncGenerator[None]:
    """Send the figures of a silo to the OTLP receiver that the environment names, while the `async with` lasts."""
    if telemetry is None or not os.environ.get(ENDPOINT):
        yield
        return
    async with (await _otel()).exporting_figures(process, figures):
        yield


async def _otel() -> Any:
    """The module with OpenTelemetry. It is imported in a thread, because that takes 0.2 s and more."""
    return await asyncio.get_running_loop().run_in_executor(None, import_module, "grange.observability.otel")
