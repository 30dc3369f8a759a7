"""The totals of the flights example's grains, and its independent checker, each on a few given flights."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import examples.flights.check
from examples.flights.check import totals_of
from examples.flights.flight import Flight
from examples.flights.reader import compare
from examples.flights.source import JANUARY, read_flights
from examples.flights.totals import Delays, Ledger, Totals
from tests.examples.departures import made_by_hand


def flight(aircraft: str = "N1", departure: int | None = 5, arrival: int | None = 7) -> Flight:
    return Flight("20130101UA1EWR", aircraft, "UA", "EWR", "IAH", departure is None, departure, arrival)


def test_delays_keep_number_sum_maximum_and_classes() -> None:
    delays = Delays()
    for minutes in (-3, 0, 1, 15, 16, 60, 61, 240, 241):
        delays.add(minutes)
    assert delays == Delays(count=9, total=631, longest=241, histogram=[2, 2, 1, 1, 1, 1, 1])


def test_the_longest_of_early_flights_is_the_least_early() -> None:
    delays = Delays()
    for minutes in (-3, -1, -8):
        delays.add(minutes)
    assert delays.longest == -1


def test_a_cancelled_flight_has_no_delays() -> None:
    totals = Totals()
    totals.add(flight(departure=None, arrival=None))
    totals.add(flight(departure=0, arrival=None))
    assert (totals.flights, totals.cancelled, totals.departure.count, totals.arrival.count) == (2, 1, 1, 0)


def test_a_repeated_report_counts_once_however_late_it_arrives() -> None:
    ledger = Ledger()
    assert [ledger.enter(number, flight()) for number in (1, 1, 3, 1, 3, 4)] == [True, False, True, False, False, True]
    assert ledger.totals.flights == 3


def test_each_aircraft_numbers_its_own_reports() -> None:
    ledger = Ledger()
    assert ledger.enter(2, flight("N1"))
    assert ledger.enter(1, flight("N2"))
    assert ledger.totals.flights == 2


def test_the_checker_adds_up_a_file(tmp_path: Path) -> None:
    path = made_by_hand(
        tmp_path,
        "2013 1 1 517 2 11 UA 1545 N14228 EWR IAH",
        "2013 1 1 600 250 -20 UA 1600 N14228 LGA EWR",
        "2013 1 2 NA NA NA AA 7 NA JFK LGA",
    )
    nothing = {"count": 0, "total": 0, "longest": None, "histogram": [0] * 7}
    none = {"flights": 0, "cancelled": 0, "departure": nothing, "arrival": nothing}
    first = {
        "flights": 1,
        "cancelled": 0,
        "departure": {"count": 1, "total": 2, "longest": 2, "histogram": [0, 1, 0, 0, 0, 0, 0]},
        "arrival": {"count": 1, "total": 11, "longest": 11, "histogram": [0, 1, 0, 0, 0, 0, 0]},
    }
    second = {
        "flights": 1,
        "cancelled": 0,
        "departure": {"count": 1, "total": 250, "longest": 250, "histogram": [0, 0, 0, 0, 0, 0, 1]},
        "arrival": {"count": 1, "total": -20, "longest": -20, "histogram": [1, 0, 0, 0, 0, 0, 0]},
    }
    cancelled = none | {"flights": 1, "cancelled": 1}
    both = {
        "flights": 2,
        "cancelled": 0,
        "departure": {"count": 2, "total": 252, "longest": 250, "histogram": [0, 1, 0, 0, 0, 0, 1]},
        "arrival": {"count": 2, "total": -9, "longest": 11, "histogram": [1, 1, 0, 0, 0, 0, 0]},
    }
    assert totals_of(path) == {
        "aircraft": {"N14228": both, "AA-unknown": cancelled},
        "airport": {
            "EWR": {"departures": first, "arrivals": second},
            "IAH": {"departures": none, "arrivals": first},
            "LGA": {"departures": second, "arrivals": cancelled},
            "JFK": {"departures": cancelled, "arrivals": none},
        },
        "carrier": {"UA": both, "AA": cancelled},
    }


def test_the_checker_imports_nothing_of_the_example_nor_of_grange() -> None:
    tree = ast.parse(Path(examples.flights.check.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_january_is_shipped_whole() -> None:
    flights = list(read_flights(JANUARY))
    assert len(flights) == len({flight.id for flight in flights}) == 27_004
    assert {flight.origin for flight in flights} == {"EWR", "JFK", "LGA"}
    assert sum(flight.cancelled for flight in flights) == 521
    assert sum(flight.aircraft.endswith("-unknown") for flight in flights) == 155


def test_any_changed_total_is_found(tmp_path: Path) -> None:
    """Each total of each grain is changed by one in turn, and the comparison names it."""
    path = made_by_hand(tmp_path, "2013 1 1 517 2 11 UA 1545 N14228 EWR IAH", "2013 1 2 NA NA NA AA 7 NA JFK LGA")
    expected = totals_of(path)
    assert not compare(expected, totals_of(path)).differences
    total = compare(expected, expected).compared
    for number in range(total):
        spoilt = totals_of(path)
        place = _spoil(spoilt, number)
        differences = compare(expected, spoilt).differences
        assert [f"{each.kind}.{each.key}.{each.total}" for each in differences] == [place]
    assert total == 12 * 22  # 2 aircraft, 2 carriers, 4 airports with two records each; 22 totals in a record


def test_lost_and_doubled_flights_are_told_apart(tmp_path: Path) -> None:
    path = made_by_hand(tmp_path, *(f"2013 1 {day} 517 2 11 UA 1545 N14228 EWR IAH" for day in (1, 2, 3)))
    expected, found = totals_of(path), totals_of(path)
    found["aircraft"]["N14228"]["flights"] = 5
    found["carrier"]["UA"]["flights"] = 2
    found["airport"]["EWR"]["departures"]["flights"] = 0
    comparison = compare(expected, found)
    assert (comparison.lost, comparison.doubled, len(comparison.differences)) == (4, 2, 3)


def test_a_missing_grain_and_one_too_many_are_differences(tmp_path: Path) -> None:
    path = made_by_hand(tmp_path, "2013 1 1 517 2 11 UA 1545 N14228 EWR IAH")
    expected, found = totals_of(path), totals_of(path)
    found["aircraft"]["N99"] = found["aircraft"].pop("N14228")
    comparison = compare(expected, found)
    assert (comparison.lost, comparison.doubled) == (1, 1)
    assert {each.key for each in comparison.differences} == {"N14228", "N99"}


def _spoil(totals: dict, number: int) -> str:
    """Change the total with this number by one. Returns its place."""
    places = list(_places(totals, ""))
    holder, key, path = places[number]
    holder[key] = (holder[key] or 0) + 1
    return path.lstrip(".")


def _places(value, path):
    items = enumerate(value) if isinstance(value, list) else value.items()
    for key, part in items:
        here = f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}"
        if isinstance(part, dict | list):
            yield from _places(part, here)
        else:
            yield value, key, here
