"""The command `python -m benchmarks.history`: the figures of all releases on record, side by side.

A record is the file that `python -m benchmarks --json benchmarks/history/<version>.json` writes.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.catalog import FIGURES
from benchmarks.processes import ROOT
from benchmarks.results import Samples, name_of, samples_of, values
from benchmarks.table import number, plain_table

FOLDER = ROOT / "benchmarks" / "history"
BESIDE = ("profile", "stalls")
"""Further results of a release, each in a file beside its record: `<version>.profile.json`."""


def main() -> int:
    """Print the table. Returns 1 when no release is on record."""
    console = Console()
    records = {path.stem: json.loads(path.read_text("utf-8")) for path in records_in(FOLDER)}
    if not records:
        console.print(f"no release is on record in {FOLDER.relative_to(ROOT)}")
        return 1
    console.print(history_table({name: samples_of(record["figures"]) for name, record in records.items()}))
    for name, record in records.items():
        console.print(
            f"{name}: {record['started'][:10]}, {record['machine']['cpu']}, {record['lengths']['rounds']} rounds"
        )
    console.print("Machines differ: compare processor times of one machine, and ratios to limits and peers.")
    return 0


def records_in(folder: Path) -> list[Path]:
    """Return the records of a folder, the oldest version first: 0.9 is older than 0.10. A name without one is last."""
    found = (path for path in folder.glob("*.json") if not path.stem.endswith(tuple(f".{name}" for name in BESIDE)))
    return sorted(found, key=lambda path: [int(part) for part in re.findall(r"\d+", path.stem)] or [sys.maxsize])


def history_table(records: Mapping[str, Samples]) -> Table:
    """Return a row for each figure of grange and Python, and a column for each release.

    A cell is the median, and in brackets the processor time of a call in μs.
    """
    table = plain_table("grange, release by release: median (μs of processor time a call)", "figure", *records)
    for figure in FIGURES.values():
        labels = {label for samples in records.values() for label in samples.rows(figure.name)}
        for label in sorted(label for label in labels if name_of(label).startswith("grange")):
            cells = [_cell(samples, figure.name, label) for samples in records.values()]
            table.add_row(f"{figure.name}, {figure.unit}, {label}", *cells)
    return table


def _cell(samples: Samples, figure: str, label: str) -> str:
    taken, used = values(samples, figure, label), values(samples, figure, label, "processor")
    if not taken:
        return ""
    processor = f" ({number(statistics.median(used))})" if used else ""
    return number(statistics.median(taken)) + processor


if __name__ == "__main__":
    sys.exit(main())
