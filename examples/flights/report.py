"""Shows the run to a person: a progress bar, then a table and the figures; or prints the figures as JSON."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.flights.demo import Outcome
from examples.flights.zones import zone_of

CALLS_PER_FLIGHT = 4
"""One to the aircraft; from there one each to origin, destination and carrier."""

SHOWN = 10
"""Most differences that are listed; all are counted."""


class Bar:
    """`demo.Display` on a terminal: a bar with the number of flights, and one line for each event above it."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("recorded"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("flights", total=None)

    def log(self, text: str) -> None:
        """Print one line about an event."""
        self._progress.console.print(text, highlight=False)

    def expect(self, flights: int) -> None:
        """Set the number of flights to feed."""
        self._progress.update(self._task, total=flights)
        self.log(f"{flights:,} flights in the file")

    def count(self, recorded: int) -> None:
        """Set the number of recorded flights."""
        self._progress.update(self._task, completed=recorded)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The table, the figures, and the verdict."""
    console.print(_table(outcome))
    for text, value in _lines(outcome):
        console.print(f"  {text:<32}{value}", highlight=False)
    comparison = outcome.comparison
    for difference in comparison.differences[:SHOWN]:
        console.print(f"[red]DIFFERENT[/red] {difference}", highlight=False)
    if len(comparison.differences) > SHOWN:
        console.print(f"… and {len(comparison.differences) - SHOWN} more")
    style = "red" if comparison.differences else "green"
    console.print(
        f"\n{comparison.compared:,} totals of {comparison.grains:,} grains compared with the file, "
        f"{len(comparison.differences)} different",
        highlight=False,
    )
    verdict = f"{comparison.lost} lost, {comparison.doubled} doubled"
    console.print(verdict, style=f"bold {style}", highlight=False)


def figures(outcome: Outcome) -> dict[str, Any]:
    """All measured figures as plain values; times in seconds."""
    pace, comparison = outcome.pace, outcome.comparison
    return {
        "flights": len(pace.acknowledged),
        "seconds": pace.seconds,
        "flights_per_second": pace.rate,
        "flights_per_second_before_kill": pace.rate_before,
        "calls_per_second": pace.rate * CALLS_PER_FLIGHT,
        "recovery_seconds": pace.recovery,
        "longest_silence_seconds": pace.longest_silence,
        "half_rate_after_seconds": pace.half_rate_after,
        "repeated_calls": dict(outcome.repeats),
        "read_back_seconds": outcome.reading,
        "worst_airports": outcome.worst,
        "airports_with_reminder": len(outcome.summaries),
        "grains": comparison.grains,
        "totals_compared": comparison.compared,
        "lost": comparison.lost,
        "doubled": comparison.doubled,
        "differences": [str(difference) for difference in comparison.differences],
        "kept": outcome.kept,
    }


def _table(outcome: Outcome) -> Table:
    table = Table(title="Totals, read back from a fresh silo", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("grains", no_wrap=True)
    for heading in (
        "number",
        "flights",
        "cancelled",
        "min. late\ndeparting",
        "min. late\narriving",
        "totals\nwrong",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for title, kind, part in (
        ("aircraft", "aircraft", None),
        ("airports from", "airport", "departures"),
        ("airports to", "airport", "arrivals"),
        ("carriers", "carrier", None),
    ):
        records = [record if part is None else record[part] for record in outcome.found[kind].values()]
        different = [
            each for each in outcome.comparison.differences if each.kind == kind and each.total.startswith(part or "")
        ]
        table.add_row(title, *_cells([record for record in records if record["flights"]]), str(len(different)))
    return table


def _cells(records: list[dict[str, Any]]) -> list[str]:
    counts = [len(records), *(sum(record[name] for record in records) for name in ("flights", "cancelled"))]
    delays = [sum(record[kind]["total"] for record in records) for kind in ("departure", "arrival")]
    return [*(f"{number:,}" for number in counts), *(f"{minutes:,}" for minutes in delays)]


def _lines(outcome: Outcome) -> list[tuple[str, str]]:
    pace = outcome.pace
    repeats = ", ".join(f"{number:,} {name}" for name, number in outcome.repeats.most_common()) or "none"
    zones = len({zone_of(code) for code in outcome.summaries})
    kept = [("kept as service and cluster", outcome.kept)] if outcome.kept else []
    return [
        ("flights per second", f"{pace.rate:,.0f} ({pace.rate_before:,.0f} until the kill)"),
        ("grain calls per second", f"{pace.rate * CALLS_PER_FLIGHT:,.0f} (each flight is {CALLS_PER_FLIGHT} calls)"),
        ("recovery after SIGKILL", _seconds(pace.recovery)),
        ("longest silence", _seconds(pace.longest_silence)),
        ("back to half the rate after", _seconds(pace.half_rate_after)),
        ("calls repeated", repeats),
        ("read back", f"{outcome.comparison.grains:,} grains in {outcome.reading:.1f} s"),
        ("worst airports, by the index", " ".join(outcome.worst)),
        ("nightly summary set", f"{len(outcome.summaries)} airports in {zones} time zones"),
        *kept,
    ]


def _seconds(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.1f} s"
