"""Flights from a file: `.csv`, `.csv.gz` or `.zip`, with the columns of the `nycflights13` data."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from examples.flights.flight import Flight

JANUARY = Path(__file__).with_name("data") / "january.csv.gz"
"""The shipped data: every departure from New York's airports in January 2013."""

COLUMNS = (
    "year", "month", "day", "dep_time", "dep_delay", "arr_delay", "carrier", "flight", "tailnum", "origin", "dest",
)  # fmt: skip
_MISSING = ("", "NA")


class NotFlights(ValueError):
    """The file does not hold flights; the message names the file and the line."""


def read_flights(path: Path) -> Iterator[Flight]:
    """The flights of a file, in its order. Raises NotFlights and OSError."""
    with open_text(path) as text:
        rows = csv.DictReader(text)
        missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise NotFlights(f"{path} is not a file of flights: it has no column {', '.join(missing)}")
        for row in rows:
            try:
                flight = _flight(row)
            except (ValueError, TypeError) as error:
                raise NotFlights(f"{path}, line {rows.line_num}: {error}") from None
            yield flight


def open_text(path: Path) -> TextIO:
    """Open the text of a csv file, unpacked by its suffix; of a zip archive, its only csv file."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    if path.suffix != ".zip":
        return path.open(encoding="utf-8", newline="")
    with zipfile.ZipFile(path) as archive:
        tables = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(tables) != 1:
            raise NotFlights(f"{path} holds {len(tables)} csv files; it must hold one")
        return io.TextIOWrapper(archive.open(tables[0]), encoding="utf-8", newline="")


def _flight(row: dict[str, str]) -> Flight:
    carrier, tail = row["carrier"], row["tailnum"]
    date = f"{int(row['year']):04}{int(row['month']):02}{int(row['day']):02}"
    return Flight(
        id=f"{date}{carrier}{int(row['flight'])}{row['origin']}",
        aircraft=f"{carrier}-unknown" if tail in _MISSING else tail,
        carrier=carrier,
        origin=row["origin"],
        destination=row["dest"],
        cancelled=row["dep_time"] in _MISSING,
        departure_delay=_minutes(row["dep_delay"]),
        arrival_delay=_minutes(row["arr_delay"]),
    )


def _minutes(text: str) -> int | None:
    return None if text in _MISSING else int(text)
