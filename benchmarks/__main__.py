"""The command: `python -m benchmarks`, from the root of the repository."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import shlex
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import catalog, environments, machine, postgres, results, table
from benchmarks.plan import QUICK, Lengths, sessions
from benchmarks.processes import ROOT
from benchmarks.run import Outcome, run

_NARROWEST = 116  # below this the numbers of the table would be cut off
RESULTS = ROOT / "benchmarks" / "results.json"


def main() -> int:
    """Measure, print the tables, write the JSON. Returns 1 when grange itself could not be measured."""
    options = _options()
    console = Console()
    console.width = max(console.width, _NARROWEST)
    lengths = QUICK if options.quick else Lengths()
    if options.rounds:
        lengths = dataclasses.replace(lengths, rounds=options.rounds)
    try:
        figures, contestants = catalog.choose_figures(options.only), catalog.choose_contestants(options.peers)
    except ValueError as error:
        console.print(f"[red]{error}[/red]")
        return 2
    about, started, clock = machine.describe(), datetime.now(UTC), time.perf_counter()
    with console.status("looking for interpreters") as status:
        variants, missing = environments.variants(contestants, environments.interpreters(), status.update)
    plan = sessions(figures, variants, lengths.rounds)
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with postgres.server_for(plan) as server, Progress(*columns, console=console) as progress:
        outcome = asyncio.run(run(plan, lengths, server, progress))
    outcome.failures.update(missing)
    _print(console, figures, outcome)
    report = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "note": options.note,
        "lengths": dataclasses.asdict(lengths),
        "machine": about,
        "contestants": outcome.introductions,
        "figures": results.document(figures, outcome.samples),
        "failures": outcome.failures,
    }
    _write(console, options, report)
    return 1 if any(label.startswith("grange@") for label in outcome.failures) else 0


def _options() -> argparse.Namespace:
    about = "Measure grange, its peers, and the limits of the libraries below grange."
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=about)
    parser.add_argument("--quick", action="store_true", help="one short round: a check, not a measurement")
    parser.add_argument("--rounds", type=int, help="number of rounds; each contestant runs once a round (3)")
    parser.add_argument("--peers", metavar="A,B", help="xoscar, casty, nigrains, ray, or none (all but ray)")
    parser.add_argument("--only", metavar="A,B", help="figures or groups: " + ", ".join(catalog.FIGURES))
    parser.add_argument("--note", metavar="TEXT", help="kept with the results, such as what else the machine did")
    where = "where results go (benchmarks/results.json; with --quick: nowhere)"
    parser.add_argument("--json", type=Path, metavar="PATH", help=where)
    return parser.parse_args()


def _print(console: Console, figures: list[catalog.Figure], outcome: Outcome) -> None:
    console.print(table.figures_table(figures, outcome.samples))
    console.print(table.targets_table(figures, outcome.samples))
    if outcome.failures:
        console.print(table.failures_table(outcome.failures))


def _write(console: Console, options: argparse.Namespace, report: dict[str, Any]) -> None:
    path: Path | None = options.json or (None if options.quick else RESULTS)
    if path is not None:
        path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        console.print(f"written to {path}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM ends the servers too
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
