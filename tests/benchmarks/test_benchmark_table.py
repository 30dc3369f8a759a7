"""The printed tables."""

from rich.console import Console

from benchmarks.catalog import FIGURES
from benchmarks.results import Samples
from benchmarks.table import failures_table, figures_table, number, targets_table


def shown(table):
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def two_contestants():
    samples = Samples(rounds=1)
    samples.add("throughput-100", "grange@3.11", 0, {"value": 40_000.0})
    samples.add("throughput-100", "casty@3.11", 0, {"value": 80_000.0})
    return samples


def test_a_row_has_median_spread_and_ratio():
    lines = shown(figures_table([FIGURES["throughput-100"]], two_contestants())).splitlines()
    [row] = [line for line in lines if "casty@3.11" in line]
    assert row.count("80,000") == 3
    assert "0.50" in row


def test_a_target_says_whether_it_is_met():
    text = shown(targets_table([FIGURES["throughput-100"]], two_contestants()))
    assert "≥ 2.2 x casty" in text
    assert "not met" in text


def test_what_failed_is_shown_with_its_reason():
    assert "no compiler" in shown(failures_table({"casty@3.13": "no compiler"}))


def test_numbers_are_written_with_three_digits_or_with_thousands_apart():
    assert [number(value) for value in (123456.7, 12.345, 0.01234)] == ["123,457", "12.3", "0.0123"]
