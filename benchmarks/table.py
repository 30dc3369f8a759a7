"""The printed table: one block per figure, one row per contestant, grange's ratio to it, and the targets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.catalog import CONTESTANTS, Figure, Target
from benchmarks.results import Samples, Verdict, labels_in_order, python_of, ratios, values, verdicts

PARTS = ("p50", "p99", "p99.9", "client", "server")


def figures_table(figures: Sequence[Figure], samples: Samples) -> Table:
    """Return the table of all figures: median, spread over the rounds, grange divided by that row.

    Then the percentiles of the time a call takes, in ms, and the processor time of a call, in μs: of the processes
    that call, and of the server.
    """
    headings = ("median", "lowest", "highest", "grange / it", "p50", "p99", "p99.9", "CPU client", "server")
    title = "grange, limits and peers (medians of rounds; call: ms; CPU: μs a call)"
    table = plain_table(title, "contestant", *headings)
    for figure in figures:
        _add_rows(table, figure, samples)
        table.add_section()
    return table


def targets_table(figures: Sequence[Figure], samples: Samples) -> Table:
    """Return the table of targets and measured values. A missed target fails nothing."""
    table = _table("targets")
    for heading in ("figure", "contestant", "Python", "target", "measured", ""):
        table.add_column(heading)
    for figure in figures:
        for verdict in verdicts(samples, figure):
            target = verdict.target
            row = (figure_of(target), target.subject, verdict.python, wanted(target, figure), measured(verdict, figure))
            table.add_row(*row, "met" if verdict.met else "not met")
    return table


def failures_table(failures: Mapping[str, str]) -> Table:
    """Return the table of contestants that could not be installed or measured, with the reasons."""
    table = _table("not measured")
    table.add_column("contestant")
    table.add_column("why")
    for label, why in failures.items():
        table.add_row(label, why)
    return table


def number(value: float) -> str:
    """Write a value with three significant digits and thousands separators."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def figure_of(target: Target) -> str:
    """Name the figure of a target, and the part of it if it is not the value."""
    return target.figure if target.part == "value" else f"{target.figure} {target.part}"


def wanted(target: Target, figure: Figure) -> str:
    """Write a target: `≥ 2 x casty`."""
    unit = f"x {target.against}" if target.against else figure.unit
    return f"{'≥' if target.more else '≤'} {target.factor:g} {unit}"


def measured(verdict: Verdict, figure: Figure) -> str:
    """Write what was measured for a target: `1.8 x casty@3.13`."""
    return f"{number(verdict.measured)} {f'x {verdict.other}' if verdict.other else figure.unit}"


def row_of(figure: Figure, samples: Samples, label: str) -> list[str]:
    """Return the cells of one contestant's row, without its label; none when it has no value."""
    taken = values(samples, figure.name, label)
    if not taken:
        return []
    own = (ratio for ratio in ratios(samples, figure.name) if python_of(ratio.subject) == python_of(label))
    by_other = {ratio.other: ratio.median for ratio in own}
    ratio = f"{by_other[label]:.2f}" if label in by_other else ""
    parts = [values(samples, figure.name, label, part) for part in PARTS]
    medians = [number(statistics.median(found)) if found else "" for found in parts]
    return [number(statistics.median(taken)), number(min(taken)), number(max(taken)), ratio, *medians]


def plain_table(title: str, name: str, *headings: str) -> Table:
    """Return an empty table: a column of names, and columns of numbers."""
    table = _table(title)
    table.add_column(name, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD)


def _add_rows(table: Table, figure: Figure, samples: Samples) -> None:
    rows = [(label, row_of(figure, samples, label)) for label in _labels(figure, samples)]
    if any(row for _, row in rows):
        table.add_row(f"[bold]{figure.name}[/bold]", figure.unit)
    for label, row in rows:
        if row:
            table.add_row(label, *row)


def _labels(figure: Figure, samples: Samples) -> list[str]:
    return labels_in_order(list(CONTESTANTS.values()), samples, figure.name)
