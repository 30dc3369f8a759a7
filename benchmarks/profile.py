"""The command `python -m benchmarks.profile` (or `make profile`): where the microseconds of a call go.

Each process of a remote call and the one process of a local call is measured three times: as it is; with a timer that
interrupts it as its processor time passes, which gives the shares of the steps; and with a counter of
Python calls. The shares are applied to the processor time of the first measurement. `contestants/watch.py` says what
the timer sees and what not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import environments
from benchmarks.catalog import CONTESTANTS
from benchmarks.plan import Variant
from benchmarks.processes import ROOT, ContestantFailed, Worker
from benchmarks.run import start_worker
from benchmarks.steps import OUTSIDE, PAGE, Step, by_step, in_order, steps_of
from benchmarks.table import number, plain_table

_COUNTED_SECONDS = 1.0
_LEAST_SHARE, _LEAST_CALLS = 0.005, 0.1  # a row below both is left out


@dataclass(frozen=True)
class Profile:
    """One process of a call: μs a call, the share of each row, its Python calls a call, and what watching added."""

    name: str
    microseconds: float
    shares: dict[str, float]
    calls: dict[str, float]
    functions: list[tuple[str, float]]
    overhead: float


def main() -> int:
    """Measure and print the table. Returns 1 when grange could not be measured."""
    options = _options()
    console = Console()
    console.width = max(console.width, 116)
    steps = steps_of((ROOT / PAGE).read_text("utf-8"))
    try:
        with console.status("measuring"):
            profiles = asyncio.run(_profiles(options, steps))
    except ContestantFailed as error:
        console.print(f"[red]{error}[/red]")
        return 1
    _print(console, options, profiles, steps)
    if options.json:
        names = {name for one in profiles for name in (*one.shares, *one.calls)}
        report = {"rows": in_order(names, steps), "processes": [one.__dict__ for one in profiles]}
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return 0


async def _profiles(options: argparse.Namespace, steps: Sequence[Step]) -> list[Profile]:
    contestant = CONTESTANTS["grange tcp" if options.road == "tcp" else "grange"]
    python = environments.interpreters()[0]
    command = (python.command, "-m", f"benchmarks.contestants.{contestant.module}", *contestant.arguments)
    variant = Variant(contestant, python.name, command)
    load = {"measure": "throughput", "callers": options.callers, "size": 0}
    async with _remote(variant) as (server, client):
        remote = await _watched({"client": client, "silo": server}, client, load, options.seconds, steps)
    async with start_worker(variant, "alone") as alone:
        local = await _watched({"local": alone}, alone, {"measure": "local", "callers": 1}, options.seconds, steps)
    return [*remote, *local]


@asynccontextmanager
async def _remote(variant: Variant) -> AsyncIterator[tuple[Worker, Worker]]:
    async with AsyncExitStack() as started:
        server = await started.enter_async_context(start_worker(variant, "serve"))
        address = server.introduction["ready"]
        yield server, await started.enter_async_context(start_worker(variant, "drive", "--address", address))


async def _watched(
    processes: dict[str, Worker], asked: Worker, load: dict[str, Any], seconds: float, steps: Sequence[Step]
) -> list[Profile]:
    """Measure plainly, then with the timer, then with the counter."""
    used, _, _ = await _once(processes, asked, {**load, "seconds": seconds}, "")
    timed, seen, _ = await _once(processes, asked, {**load, "seconds": seconds}, "time")
    _, counted, calls = await _once(processes, asked, {**load, "seconds": _COUNTED_SECONDS}, "calls")
    return [
        Profile(
            name,
            used[name],
            {row: times / _total(seen[name]) for row, times in by_step(seen[name], steps).items()},
            {row: times / calls for row, times in by_step(counted[name], steps).items()},
            [(f"{file} {function}" if file else OUTSIDE, n / _total(seen[name])) for file, function, n in seen[name]],
            timed[name] / used[name] - 1,
        )
        for name in processes
    ]


def _total(seen: Sequence[tuple[str, str, int]]) -> int:
    return sum(times for _, _, times in seen) or 1


async def _once(
    processes: dict[str, Worker], asked: Worker, order: dict[str, Any], how: str
) -> tuple[dict[str, float], dict[str, list[tuple[str, str, int]]], float]:
    """Return μs a call and what was seen, of each process, and the number of calls. `how`: of `Watch`, or empty."""
    if how:
        for process in processes.values():
            await process.ask({"measure": "watch", "how": how})
    before = {name: process.processor_seconds() for name, process in processes.items()}
    calls = (await asked.ask(order))["calls"]
    used = {name: (process.processor_seconds() - before[name]) / calls * 1e6 for name, process in processes.items()}
    seen = {name: (await process.ask({"measure": "watched"}))["seen"] for name, process in processes.items()}
    return used, seen, calls


def _print(console: Console, options: argparse.Namespace, profiles: list[Profile], steps: Sequence[Step]) -> None:
    title = f"a call, in μs of processor time and in Python calls ({options.callers} callers; steps of {PAGE})"
    table = plain_table(title, "step", *(cell for one in profiles for cell in (f"{one.name} μs", "calls")))
    names = {name for one in profiles for name in (*one.shares, *one.calls)}
    for name in in_order(names, steps):
        found = [
            (one.shares.get(name, 0.0), one.shares.get(name, 0.0) * one.microseconds, one.calls.get(name, 0.0))
            for one in profiles
        ]
        if any(share >= _LEAST_SHARE or calls >= _LEAST_CALLS for share, _, calls in found):
            table.add_row(name, *(number(cell) if cell else "" for _, *cells in found for cell in cells))
    table.add_section()
    sums = ((one.microseconds, sum(one.calls.values())) for one in profiles)
    table.add_row("sum", *(number(cell) for pair in sums for cell in pair))
    console.print(table)
    added = ", ".join(f"{one.name} {one.overhead:+.0%}" for one in profiles)
    console.print(f"The sums were measured without the profiler; the timer added to them: {added}.")
    for one in profiles:
        top = plain_table(f"{one.name}: functions with the most time", "function", "μs")
        for function, share in one.functions[: options.functions]:
            top.add_row(function, number(share * one.microseconds))
        if options.functions:
            console.print(top)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Show where a call's time goes.")
    parser.add_argument("--callers", type=int, default=100, help="callers of the remote call (100)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a measurement (8)")
    parser.add_argument("--road", choices=["grpc", "tcp"], default="grpc", help="the connection of the remote call")
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="also show the N functions with the most time"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the profiles, with all functions")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
