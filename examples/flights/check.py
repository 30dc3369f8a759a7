"""Computes the totals from the file with plain `csv` code. It shares no code with the grains, so it can verify them.

It collects the lines of each aircraft, airport and carrier in lists and adds them up at the end.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

Times = tuple[str, str, str]
"""Fields of one flight in the file: time of departure, delay of departure, delay of arrival."""

Record = dict[str, Any]
Expected = dict[str, dict[str, Record]]
"""Kind of grain, then key, then its totals as plain values."""

NOTHING = {"NA", ""}


def totals_of(path: Path) -> Expected:
    """The totals of every grain if each flight of the file is counted exactly once."""
    aircraft: dict[str, list[Times]] = defaultdict(list)
    leaving: dict[str, list[Times]] = defaultdict(list)
    bound: dict[str, list[Times]] = defaultdict(list)
    carriers: dict[str, list[Times]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(_text(path), newline="")):
        named = row["tailnum"] not in NOTHING
        times = (row["dep_time"], row["dep_delay"], row["arr_delay"])
        aircraft[row["tailnum"] if named else row["carrier"] + "-unknown"].append(times)
        leaving[row["origin"]].append(times)
        bound[row["dest"]].append(times)
        carriers[row["carrier"]].append(times)
    return {
        "aircraft": {key: _sums(flights) for key, flights in aircraft.items()},
        "airport": {
            code: {"departures": _sums(leaving.get(code, [])), "arrivals": _sums(bound.get(code, []))}
            for code in {*leaving, *bound}
        },
        "carrier": {key: _sums(flights) for key, flights in carriers.items()},
    }


def _text(path: Path) -> str:
    content = path.read_bytes()
    if path.name.endswith(".gz"):
        content = gzip.decompress(content)
    elif path.name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(next(name for name in archive.namelist() if name.endswith(".csv")))
    return content.decode("utf-8")


def _sums(flights: list[Times]) -> Record:
    return {
        "flights": len(flights),
        "cancelled": sum(departed in NOTHING for departed, _, _ in flights),
        "departure": _delays([int(delay) for _, delay, _ in flights if delay not in NOTHING]),
        "arrival": _delays([int(delay) for _, _, delay in flights if delay not in NOTHING]),
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
