"""Small files of flights for tests: the first flights of January, or rows given by the test."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path

from examples.flights.source import COLUMNS, JANUARY


def first_of_january(folder: Path, flights: int) -> Path:
    """The first flights of the shipped month, as a file."""
    path = folder / "flights.csv"
    with gzip.open(JANUARY, "rt", encoding="utf-8") as january:
        path.write_text("".join(islice(january, flights + 1)))
    return path


def made_by_hand(folder: Path, *rows: str) -> Path:
    """A file of these rows: `year month day dep_time dep_delay arr_delay carrier flight tailnum origin dest`."""
    path = folder / "hand.csv"
    path.write_text("\n".join(",".join(line) for line in (COLUMNS, *(row.split() for row in rows))))
    return path
