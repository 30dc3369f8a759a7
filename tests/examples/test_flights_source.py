"""Reading files of flights, packed or not, and refusing wrong ones."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from examples.flights.check import totals_of
from examples.flights.cut_january import cut
from examples.flights.source import JANUARY, NotFlights, read_flights
from tests.examples.departures import first_of_january, made_by_hand


def packed(path: Path, how: str) -> Path:
    if how == "csv":
        return path
    target = path.with_name(f"flights.csv.{how}")
    if how == "gz":
        target.write_bytes(gzip.compress(path.read_bytes()))
    else:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, "flights.csv")
    return target


@pytest.mark.parametrize("how", ["csv", "gz", "zip"])
def test_a_file_is_unpacked_by_the_ending_of_its_name(tmp_path: Path, how: str) -> None:
    path = first_of_january(tmp_path, 50)
    assert list(read_flights(packed(path, how))) == list(read_flights(path))
    assert totals_of(packed(path, how)) == totals_of(path)
    assert len(list(read_flights(path))) == 50


def test_a_flight_has_the_values_of_its_line(tmp_path: Path) -> None:
    path = made_by_hand(tmp_path, "2013 1 1 517 -2 11 UA 1545 N14228 EWR IAH", "2013 11 2 NA NA NA AA 7 NA JFK LGA")
    first, second = read_flights(path)
    assert (first.id, first.aircraft, first.cancelled) == ("20130101UA1545EWR", "N14228", False)
    assert (first.departure_delay, first.arrival_delay) == (-2, 11)
    assert (second.id, second.aircraft, second.cancelled) == ("20131102AA7JFK", "AA-unknown", True)
    assert (second.departure_delay, second.arrival_delay) == (None, None)


def test_a_file_without_the_columns_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("year,month\n2013,1\n")
    with pytest.raises(NotFlights, match=r"other\.csv is not a file of flights: it has no column day, dep_time"):
        list(read_flights(path))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = made_by_hand(tmp_path, "2013 1 1 517 -2 11 UA 1545 N14228 EWR IAH", "2013 1 1 517 soon 11 UA 2 N1 EWR IAH")
    with pytest.raises(NotFlights, match=r"hand\.csv, line 3: .*soon"):
        list(read_flights(path))


def test_an_archive_must_hold_one_table(tmp_path: Path) -> None:
    path = tmp_path / "none.zip"
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(NotFlights, match="0 csv files"):
        list(read_flights(path))


def test_january_is_cut_from_the_year_line_by_line(tmp_path: Path) -> None:
    year, january = tmp_path / "flights.csv.zip", tmp_path / "january.csv.gz"
    original = gzip.decompress(JANUARY.read_bytes())
    with zipfile.ZipFile(year, "w") as archive:
        archive.writestr(
            "flights.csv", original + original.splitlines(keepends=True)[1].replace(b"2013,1,", b"2013,10,")
        )
    assert cut(year, january) == 27_004
    assert gzip.decompress(january.read_bytes()) == original
