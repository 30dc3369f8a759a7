"""The totals straight from the file, by plain `csv` code. It shares nothing with the grains, so that it can prove them.

It collects the rows of each aircraft, airport and carrier in lists and adds them up at the end; it never asks how
flights travel or how they are counted one by one.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

Row = dict[str, str]
Record = dict[str, Any]
Expected = dict[str, dict[str, Record]]
"""Kind of grain, then key, then its totals as plain values."""

NOTHING = {"NA", ""}


def totals_of(path: Path) -> Expected:
    """What every grain must say once each flight of the file was counted exactly once."""
    aircraft: dict[str, list[Row]] = defaultdict(list)
    leaving: dict[str, list[Row]] = defaultdict(list)
    bound: dict[str, list[Row]] = defaultdict(list)
    carriers: dict[str, list[Row]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(_text(path), newline="")):
        named = row["tailnum"] not in NOTHING
        aircraft[row["tailnum"] if named else row["carrier"] + "-unknown"].append(row)
        leaving[row["origin"]].append(row)
        bound[row["dest"]].append(row)
        carriers[row["carrier"]].append(row)
    return {
        "aircraft": {key: _sums(rows) for key, rows in aircraft.items()},
        "airport": {
            code: {"departures": _sums(leaving.get(code, [])), "arrivals": _sums(bound.get(code, []))}
            for code in {*leaving, *bound}
        },
        "carrier": {key: _sums(rows) for key, rows in carriers.items()},
    }


def _text(path: Path) -> str:
    content = path.read_bytes()
    if path.name.endswith(".gz"):
        content = gzip.decompress(content)
    elif path.name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(next(name for name in archive.namelist() if name.endswith(".csv")))
    return content.decode("utf-8")


def _sums(rows: list[Row]) -> Record:
    return {
        "flights": len(rows),
        "cancelled": sum(row["dep_time"] in NOTHING for row in rows),
        "departure": _delays([int(row["dep_delay"]) for row in rows if row["dep_delay"] not in NOTHING]),
        "arrival": _delays([int(row["arr_delay"]) for row in rows if row["arr_delay"] not in NOTHING]),
    }


def _delays(minutes: list[int]) -> Record:
    return {
        "count": len(minutes),
        "total": sum(minutes),
        "longest": max(minutes, default=None),
        "histogram": [
            sum(m <= 0 for m in minutes),
            sum(0 < m <= 15 for m in minutes),
            sum(15 < m <= 30 for m in minutes),
            sum(30 < m <= 60 for m in minutes),
            sum(60 < m <= 120 for m in minutes),
            sum(120 < m <= 240 for m in minutes),
            sum(m > 240 for m in minutes),
        ],
    }
