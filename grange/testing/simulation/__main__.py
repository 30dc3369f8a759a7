"""`python -m grange.testing.simulation`: run many seeds, or look at one. `make simulate` and `make test` call it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from grange.testing.simulation.campaign import Finding, Summary, rows, run_seeds, summarise, work
from grange.testing.simulation.simulation import Simulation

SHOWN = 10
"""Violations of one seed that are printed."""


class Asked(msgspec.Struct):
    """The options of the command."""

    seed: int | None
    seeds: int
    first: int
    minutes: float
    workers: int
    as_json: bool
    strict: bool
    worker: int | None


@click.command()
@click.option("--seed", type=int, help="Run this one seed, print its event log on standard output, and judge it.")
@click.option("--seeds", default=200, show_default=True, help="How many seeds to run.")
@click.option("--first", default=1, show_default=True, help="The first of them.")
@click.option("--minutes", default=10.0, show_default=True, help="Virtual minutes of each run.")
@click.option("--workers", default=2, show_default=True, help="Processes that run seeds side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON instead of a table.")
@click.option("--strict", is_flag=True, help="Fail also when something that must happen sometimes never did.")
@click.option("--worker", type=int, hidden=True)
def main(**given: Any) -> None:
    """Simulate whole clusters under faults, one per seed. Exit code 1: a seed broke an invariant."""
    asked = Asked(**given)
    if asked.seed is not None:
        sys.exit(_look_at(asked.seed, asked.minutes))
    if asked.worker is not None:
        work(range(asked.first + asked.worker, asked.first + asked.seeds, asked.workers), asked.minutes)
        return
    summary = _run(asked)
    if asked.as_json:
        click.echo(msgspec.json.encode(summary).decode())
    else:
        _show(summary, Console())
    sys.exit(bool(summary.failed or (asked.strict and summary.missing)))


def _look_at(seed: int, minutes: float) -> int:
    result = Simulation(seed, minutes=minutes).run()
    for line in result.log:
        click.echo(line)
    click.echo(f"{result}\nevent log {result.hash}", err=True)
    return int(bool(result.violations))


def _run(asked: Asked) -> Summary:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("seeds", total=asked.seeds)

        def found(finding: Finding) -> None:
            progress.advance(bar)
            if not finding.good:
                progress.console.print(_text(finding), highlight=False, markup=False)

        running = run_seeds(asked.first, asked.seeds, asked.minutes, min(asked.workers, asked.seeds), found)
        return summarise(asyncio.run(running), asked.minutes)


def _text(finding: Finding) -> str:
    lines = [f"seed {finding.seed}: {len(finding.violations)} violations", finding.error]
    lines += [f"  {violation}" for violation in finding.violations[:SHOWN]]
    return "\n".join(line for line in lines if line)


def _show(summary: Summary, console: Console) -> None:
    table = Table(title=f"{summary.seeds} seeds of {summary.minutes:g} virtual minutes")
    table.add_column("what happened")
    table.add_column("times", justify="right")
    table.add_column("that is")
    for name, count, words in rows(summary):
        table.add_row(name, count, words)
    console.print(table)
    console.print(
        f"{summary.virtual_hours:,.1f} virtual hours, {summary.faults:,} faults, "
        f"{summary.counts.get('call_ok', 0):,} calls answered, {summary.seconds_per_seed:.2f} s per seed and core",
        highlight=False,
    )
    if summary.missing:
        console.print(f"never happened: {', '.join(summary.missing)}", highlight=False)
    for finding in summary.failed:
        console.print(f"FAILED: seed {finding.seed}; replay: make simulate SEED={finding.seed}", highlight=False)


if __name__ == "__main__":
    main(prog_name=Path(sys.argv[0]).name)
