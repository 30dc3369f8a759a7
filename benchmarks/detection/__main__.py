"""The command: `python -m benchmarks.detection`, from the root of the repository."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.detection.disturbance import DISTURBANCES
from benchmarks.detection.measures import PURPOSES, Cost, Faults, Hangs, cost, disturbances, faults, hangs
from benchmarks.table import plain_table
from grange.membership.model.options import MembershipOptions

SIZES = (3, 32, 125)
HOURS = {3: 0.5, 32: 1 / 3, 125: 1 / 6}
"""Virtual hours of each disturbance by size; an hour together."""

BEFORE = {"probe_interval": 1.0, "probe_timeout": 1.0, "vote_after": 3.25, "fence_after": 2.75}
"""The options before grange looked for evidence of a death (issue 14)."""

AFTER = {"probe_interval": 0.5, "probe_timeout": 0.75, "vote_after": 2.6, "fence_after": 2.25}
KINDS = ("messages", "hangs", "faults")
_COST = 60.0
_NARROWEST = 160  # below this the numbers of the tables would be cut off


def main(arguments: list[str] | None = None) -> int:
    """Measure, print each table as soon as it is complete, and write the JSON if asked for."""
    options = _options(arguments)
    sets = {
        name: msgspec.convert({**base, **_changes(options.set)}, MembershipOptions) for name, base in _bases(options)
    }
    console = Console(width=max(Console().width, _NARROWEST))
    report: dict[str, Any] = {"options": {name: msgspec.to_builtins(each) for name, each in sets.items()}}
    for kind in options.only.split(","):
        measure = {"messages": _messages, "hangs": _hangs, "faults": _faults}[kind]
        table, found = measure(options, sets)
        console.print(table)
        report[kind] = msgspec.to_builtins(found)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    about = "What failure detection costs, how soon it finds a hang, and whether it is ever wrong (virtual time)."
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=about)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), metavar="N,N", help="silos (3,32,125)")
    parser.add_argument("--only", default=",".join(KINDS), metavar="A,B", help="of " + ", ".join(KINDS))
    parser.add_argument("--sets", default="before,after", metavar="A,B", help="options: before, after (both)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one option of every set")
    parser.add_argument("--hangs", type=int, default=200, metavar="N", help="hangs of each size (200)")
    parser.add_argument("--hang-in", default="calm", metavar="A,B", help="disturbances while silos hang (calm)")
    parser.add_argument("--faults", metavar="A,B", help="disturbances (all): " + ", ".join(DISTURBANCES))
    parser.add_argument("--hours", type=float, metavar="H", help="virtual hours of each disturbance and size")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    return parser.parse_args(arguments)


def _bases(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    known = {"before": BEFORE, "after": AFTER}
    return ((name, known[name]) for name in options.sets.split(","))


def _changes(settings: list[str]) -> dict[str, Any]:
    pairs = (setting.split("=", 1) for setting in settings)
    return {name: json.loads(value) for name, value in pairs}


def _sizes(options: argparse.Namespace) -> list[int]:
    return [int(size) for size in options.sizes.split(",")]


Sets = dict[str, MembershipOptions]


def _messages(options: argparse.Namespace, sets: Sets) -> tuple[Table, dict[str, Cost]]:
    table = plain_table("messages and table operations of a silo in a second, calm", "silos, options", *PURPOSES)
    found: dict[str, Cost] = {}
    for size in _sizes(options):
        for name, each in sets.items():
            figures = cost(size, each, _COST, f"{options.seed} cost {size}")
            found[f"{size} {name}"] = figures
            table.add_row(f"{size}, {name}", *_rates(figures))
    return table, found


def _hangs(options: argparse.Namespace, sets: Sets) -> tuple[Table, dict[str, Hangs]]:
    headings = ("hangs", "p50", "p99", "longest", "false deaths")
    table = plain_table("seconds from a hang to the written death", "silos, options, disturbance", *headings)
    found: dict[str, Hangs] = {}
    for size in _sizes(options):
        for name, each in sets.items():
            for kind, disturbance in disturbances(options.hang_in).items():
                figures = hangs(size, each, options.hangs, disturbance, f"{options.seed} hangs {size}")
                found[f"{size} {name} {kind}"] = figures
                times = (f"{figures.quantile(share):.2f}" for share in (0.5, 0.99, 1.0))
                row = (str(len(figures.seconds)), *times, str(figures.false_deaths))
                table.add_row(f"{size}, {name}, {kind}", *row)
    return table, found


def _faults(options: argparse.Namespace, sets: Sets) -> tuple[Table, dict[str, Faults]]:
    headings = ("hours", "silo hours", "deaths", "open", "fences", "votes", *PURPOSES)
    table = plain_table(
        "false deaths and self-fences, and the cost of a silo in a second", "silos, options, disturbance", *headings
    )
    found: dict[str, Faults] = {}
    for size in _sizes(options):
        seconds = 3600 * (options.hours or HOURS.get(size, 0.5))
        for name, each in sets.items():
            for kind, disturbance in disturbances(options.faults).items():
                figures = faults(size, each, seconds, disturbance, f"{options.seed} faults {size} {kind}")
                found[f"{size} {name} {kind}"] = figures
                hours = (f"{figures.seconds / 3600:.2f}", f"{figures.silo_seconds / 3600:.1f}")
                counts = (figures.deaths, figures.open_deaths, figures.fences, figures.votes)
                table.add_row(f"{size}, {name}, {kind}", *hours, *map(str, counts), *_rates(figures.cost))
    return table, found


def _rates(figures: Cost) -> list[str]:
    return [f"{rate:.2f}" for rate in figures.rates.values()]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # silos that share a process are held up by each other, and say so
    sys.exit(main())
