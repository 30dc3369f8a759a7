"""`python -m grange.testing.simulation`: run many seeds, or print one. `make simulate` and `make test` call it."""

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

from grange.testing.simulation.campaign import SeedResult, Summary, rows, run_seeds, run_worker, summarise
from grange.testing.simulation.simulation import Simulation

MAX_PRINTED = 10
"""Print at most this many violations of one seed."""


class Options(msgspec.Struct):
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
@click.option("--seed", type=int, help="Run one seed, print its event log on standard output, and check it.")
@click.option("--seeds", default=200, show_default=True, help="Number of seeds to run.")
@click.option("--first", default=1, show_default=True, help="The first seed.")
@click.option("--minutes", default=10.0, show_default=True, help="Virtual minutes of each run.")
@click.option("--workers", default=2, show_default=True, help="Number of processes that run seeds in parallel.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON instead of a table.")
@click.option("--strict", is_flag=True, help="Fail also when an event that must occur at least once did not.")
@click.option("--worker", type=int, hidden=True)
def main(**options_given: Any) -> None:
    """Simulate whole clusters under faults, one per seed. Exit code 1: a seed violated an invariant."""
    options = Options(**options_given)
    if options.seed is not None:
        sys.exit(_run_one(options.seed, options.minutes))
    if options.worker is not None:
        run_worker(
            range(options.first + options.worker, options.first + options.seeds, options.workers), options.minutes
        )
        return
    summary = _run(options)
    if options.as_json:
        click.echo(msgspec.json.encode(summary).decode())
    else:
        _show(summary, Console())
    sys.exit(bool(summary.failed or (options.strict and summary.missing)))


def _run_one(seed: int, minutes: float) -> int:
    result = Simulation(seed, minutes=minutes).run()
    for line in result.log:
        click.echo(line)
    click.echo(f"{result}\nevent log {result.hash}", err=True)
    return int(bool(result.violations))


def _run(options: Options) -> Summary:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("seeds", total=options.seeds)

        def on_result(result: SeedResult) -> None:
            progress.advance(bar)
            if not result.good:
                progress.console.print(_text(result), highlight=False, markup=False)

        running = run_seeds(
            options.first, options.seeds, options.minutes, min(options.workers, options.seeds), on_result
        )
        return summarise(asyncio.run(running), options.minutes)


def _text(result: SeedResult) -> str:
    lines = [f"seed {result.seed}: {len(result.violations)} violations", result.error]
    lines += [f"  {violation}" for violation in result.violations[:MAX_PRINTED]]
    return "\n".join(line for line in lines if line)


def _show(summary: Summary, console: Console) -> None:
    table = Table(title=f"{summary.seeds} seeds of {summary.minutes:g} virtual minutes")
    table.add_column("event")
    table.add_column("count", justify="right")
    table.add_column("meaning")
    for name, count, meaning in rows(summary):
        table.add_row(name, count, meaning)
    console.print(table)
    console.print(
        f"{summary.virtual_hours:,.1f} virtual hours, {summary.faults:,} faults, "
        f"{summary.counts.get('call_ok', 0):,} calls answered, {summary.seconds_per_seed:.2f} s per seed and core",
        highlight=False,
    )
    if summary.missing:
        console.print(f"never occurred: {', '.join(summary.missing)}", highlight=False)
    for result in summary.failed:
        console.print(f"FAILED: seed {result.seed}; replay: make simulate SEED={result.seed}", highlight=False)


if __name__ == "__main__":
    main(prog_name=Path(sys.argv[0]).name)
