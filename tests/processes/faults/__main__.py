"""`make faults`: plays every row in several rounds, prints the figures, and writes tests/processes/faults/results.json.

A run of chosen rows does not record all figures, so its results.json stays in its own folder.

The exit code is 1 when a promise was broken or a figure missed its target.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tests.processes.faults import network
from tests.processes.faults.plan import GROUPS, ONE_HOST, OUTAGE, SECURED, chosen, pace_of, rounds_of
from tests.processes.faults.report import Result, figures, figures_table, result_of, rows_table, steps_seen, steps_table
from tests.processes.faults.round import LONG, Pace, Row, play
from tests.processes.faults.stage import stage
from tests.processes.silo_process import ROOT

FILE_WIDTH = 140
"""Width of the tables in columns without a terminal."""

RESULTS = Path(__file__).with_name("results.json")


class Run:
    """One run over some rows: plays them, shows a line of progress for each, and keeps their results."""

    def __init__(self, folder: Path, seed: int, progress: Progress) -> None:
        self._folder = folder
        self._seed = seed
        self._progress = progress
        self._print = progress.console.print
        self.results: list[Result] = []
        self.skips: dict[str, str] = {}
        self.servers: dict[str, str] = {}

    async def group(self, name: str, rows: Sequence[Row], rounds: int) -> None:
        """Play the rows of a group on one cluster; skip rows that need namespaces where there are none."""
        reason = network.missing()
        for row in rows:
            if row.cuts and reason:
                self.skips[row.id] = f"no network namespaces: {reason}"
                self._print(f"{row.id:5} SKIPPED: no network namespaces: {reason}")
        playable = [row for row in rows if row.id not in self.skips]
        if not playable:
            return
        seed = random.Random(f"{self._seed} {name}").getrandbits(64)
        async with stage(self._folder / name, seed, secured=name == SECURED, one_host=name == ONE_HOST) as scene:
            self.servers = scene.versions
            for row in playable:
                line = self._line(row, rounds_of(row, rounds))
                for number in range(rounds_of(row, rounds)):
                    self._keep(result_of(await play(row, number, scene, pace_of(row, number))), line)

    async def outage(self, seconds: float) -> None:
        """Play one long outage of Redis, without other faults."""
        pace = Pace(LONG.warm, LONG.quiet, LONG.hold, seconds)
        async with stage(self._folder / "outage", self._seed) as scene:
            line = self._line(OUTAGE, 1)
            self._keep(result_of(await play(OUTAGE, 0, scene, pace)), line)

    def _line(self, row: Row, rounds: int) -> TaskID:
        return self._progress.add_task(f"{row.id:4} {row.title}", total=rounds, seen="[dim]runs[/]")

    def _keep(self, result: Result, line: TaskID) -> None:
        self.results.append(result)
        played = [each for each in self.results if each.row == result.row]
        failed, late = sum(bool(each.failures) for each in played), sum(bool(each.late) for each in played)
        seen = f"[red]{failed} failed[/]" if failed else f"[yellow]{late} late[/]" if late else "[green]ok[/]"
        self._progress.update(line, advance=1, seen=seen)
        if not self._progress.console.is_terminal:  # without a terminal: one line for each round
            self._print(f"{result.row} round {result.number + 1}: {result.seconds} s, {seen}")
        for text in [*result.failures[:5], *result.late]:
            self._print(f"{result.row} round {result.number + 1}: {text[:1000]}", markup=False)


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds of every row.")
@click.option("--rows", default="", help="Only these, such as F1,F5.")
@click.option("--outage", type=click.FloatRange(0), default=600.0, show_default=True, help="Seconds without Redis.")
@click.option("--seed", type=int, default=None, help="Repeats the choices of an earlier run.")
@click.option("--keep", is_flag=True, help="Keep the folder with histories and logs also after success.")
def main(rounds: int, rows: str, outage: float, seed: int | None, keep: bool) -> None:
    """Inject faults into real processes and stores; print each figure beside its target."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="grange-faults-"))
    console.print(f"seed {seed}, histories and logs in {folder}")
    try:
        groups = chosen(rows)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    wanted = rows.upper().split(",")
    columns = (
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[seen]}"),
    )
    with Progress(*columns, console=console) as progress:
        run = Run(folder, seed, progress)
        asyncio.run(everything(run, groups, rounds, outage if not rows or OUTAGE.id in wanted else 0.0))
    titles = {row.id: row.title for each in GROUPS.values() for row in each} | {OUTAGE.id: OUTAGE.title}
    lines = figures(run.results)
    console.print(rows_table(run.results, titles, run.skips))
    seen = steps_seen(run.results)
    if seen:
        console.print(steps_table(seen))
    console.print(figures_table(lines))
    facts = {
        **machine(run.servers),
        "seed": seed,
        "rounds": rounds,
        "skips": run.skips,
        "figures": lines,
        "steps": seen,
        "rows": run.results,
    }
    results_of(folder, rows).write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=1) + b"\n")
    good = all(line.ok for line in lines) and not any(result.failures for result in run.results)
    if good and not keep:
        shutil.rmtree(folder)
    sys.exit(0 if good else 1)


def results_of(folder: Path, rows: str) -> Path:
    """The file of the results: only a run of all rows replaces the record that docs/promises.md shows."""
    return folder / RESULTS.name if rows.strip() else RESULTS


async def everything(run: Run, groups: Mapping[str, Sequence[Row]], rounds: int, outage: float) -> None:
    for name, rows in groups.items():
        await run.group(name, rows, rounds)
    if outage:
        await run.outage(outage)


def machine(servers: Mapping[str, str]) -> dict[str, object]:
    """Describe the machine on which the figures were measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": {"cores": os.cpu_count(), "memory_mib": memory, "system": platform.platform()},
        "versions": {"python": platform.python_version(), **servers}
        | {name: version(name) for name in ("grange", "grpcio", "redis", "asyncpg")},
    }


if __name__ == "__main__":
    main()
