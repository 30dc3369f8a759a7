"""The cost of telemetry for a call, in processor time: `python -m benchmarks.tracing`.

One process runs a silo and a client for each kind of telemetry. All are measured in alternating rounds, so that other
programs of the machine disturb all alike; a figure is the least of all rounds, which they disturb least. The client and
the silo share the process, so a remote call counts both sides. The exporter drops the spans: a collector has costs of
its own.

The cost of the places that test whether telemetry is on needs a tree without them: `python -m benchmarks.guard`.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.contestants.grange_ import Echo
from grange import Grain, response_timeout
from grange.client import Client
from grange.observability import Telemetry
from grange.silo import Silo

KINDS: dict[str, float | None] = {"none": None, "sampled out": 0.0, "1 % sampled": 0.01, "all sampled": 1.0}
TARGETS = {("local", "sampled out"): 1.1, ("remote", "1 % sampled"): 1 / 0.95}

_LOCAL_CALLS = 3_000
_REMOTE_CALLS = 2_000
_CALLERS = 100

Figures = dict[tuple[str, str], tuple[float, float]]
Measure = Callable[[], Awaitable[float]]


class Caller(Grain):
    """A grain that calls another one in its silo."""

    @response_timeout(60)
    async def measure(self, calls: int) -> float:
        """The processor time of one call, in seconds."""
        other = self.get_grain(Echo, "local")
        begun = time.thread_time()
        for value in range(calls):
            await other.echo(value)
        return (time.thread_time() - begun) / calls


class Dropping:
    """An exporter that sends nothing."""

    def export(self, spans: Sequence[Any]) -> None:
        """Drop them."""

    def shutdown(self) -> None:
        """Do nothing."""


def main() -> None:
    """Measure, print the table, and write the figures if that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracing", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30, metavar="N")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # silos that share a process are held up by each other's rounds
    found = asyncio.run(_measure(options.rounds))
    for (where, kind), (microseconds, ratio) in found.items():
        target = TARGETS.get((where, kind))
        bound = f"  target {target:.2f}" if target else ""
        print(f"{where:10} {kind:12} {microseconds:7.2f} us a call   {ratio:.3f} of none{bound}")
    if options.json:
        document = {f"{where}, {kind}": {"us": us, "ratio": ratio} for (where, kind), (us, ratio) in found.items()}
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


async def _measure(rounds: int) -> Figures:
    measures: dict[tuple[str, str], Measure] = {}
    async with AsyncExitStack() as parts:
        for number, (kind, sample) in enumerate(KINDS.items()):
            telemetry = None if sample is None else Telemetry(sample=sample, exporter=Dropping())
            here, turn, there = await _start(parts, number, telemetry)
            measures |= {("local", kind): here, ("in a turn", kind): turn, ("remote", kind): there}
        taken = await rounds_of(measures, rounds)
    found: Figures = {}
    for (where, kind), mine in taken.items():
        found[where, kind] = (round(min(mine) * 1e6, 2), round(min(mine) / min(taken[where, "none"]), 3))
    return found


async def rounds_of(measures: dict[tuple[str, str], Measure], rounds: int) -> dict[tuple[str, str], list[float]]:
    """The figures of alternating rounds, after one that warms up. `authorization.py` takes its figures so, too."""
    taken: dict[tuple[str, str], list[float]] = {name: [] for name in measures}
    for turn in range(rounds + 1):
        for name in measures if turn % 2 else reversed(measures):
            gc.collect()
            figure = await measures[name]()
            if turn:  # the first round warms up
                taken[name].append(figure)
    return taken


async def _start(parts: AsyncExitStack, number: int, telemetry: Telemetry | None) -> tuple[Measure, Measure, Measure]:
    folder = parts.enter_context(tempfile.TemporaryDirectory())
    silo = Silo(
        [Echo, Caller], cluster=f"tracing-{number}", port=0, gateway_port=0, data=Path(folder), telemetry=telemetry
    )
    await parts.enter_async_context(silo)
    client = Client([silo.gateway], cluster=f"tracing-{number}", telemetry=telemetry)
    await parts.enter_async_context(client)
    here, caller = silo.get_grain(Echo, "local"), silo.get_grain(Caller, "local")
    there = [client.get_grain(Echo, f"{each}") for each in range(_CALLERS)]
    return measures(here, caller, there)


def measures(here: Echo, caller: Caller, there: Sequence[Echo]) -> tuple[Measure, Measure, Measure]:
    """The processor time of a call, in seconds: from own code, in a turn, and from a client to all of `there`."""

    async def local() -> float:
        begun = time.thread_time()
        for value in range(_LOCAL_CALLS):
            await here.echo(value)
        return (time.thread_time() - begun) / _LOCAL_CALLS

    async def in_a_turn() -> float:
        return await caller.measure(_LOCAL_CALLS)

    async def call(grain: Echo) -> None:
        for value in range(_REMOTE_CALLS // _CALLERS):
            await grain.echo(value)

    async def remote() -> float:
        begun = time.process_time()
        await asyncio.gather(*(call(grain) for grain in there))
        return (time.process_time() - begun) / _REMOTE_CALLS

    return local, in_a_turn, remote


if __name__ == "__main__":
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    main()
