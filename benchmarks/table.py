"""The printed table: one block per figure, one row per contestant, grange's ratio to it, and the targets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.catalog import CONTESTANTS, Figure
from benchmarks.results import Samples, labels_in_order, ratios, values, verdicts


def figures_table(figures: Sequence[Figure], samples: Samples) -> Table:
    """Return the table of all figures: median, spread over the rounds, grange divided by that row.

    The last column is the processor time of one call, of all the contestant's processes together.
    """
    table = _table("grange and its peers (median of rounds)")
    table.add_column("figure", no_wrap=True)
    table.add_column("contestant", no_wrap=True)
    for heading in ("median", "lowest", "highest", "grange / it", "CPU μs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        _add_rows(table, figure, samples)
        table.add_section()
    return table


def targets_table(figures: Sequence[Figure], samples: Samples) -> Table:
    """Return the table of targets and measured values. A missed target fails nothing."""
    table = _table("targets")
    for heading in ("figure", "Python", "target", "measured", ""):
        table.add_column(heading)
    for figure in figures:
        sign = "≥" if figure.more else "≤"
        for verdict in verdicts(samples, figure):
            target = verdict.target
            unit = f"x {target.against}" if target.against else figure.unit
            wanted, measured = f"{sign} {target.factor:g} {unit}", f"{number(verdict.measured)} {unit}"
            table.add_row(figure.name, verdict.python, wanted, measured, "met" if verdict.met else "not met")
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


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD)


def _add_rows(table: Table, figure: Figure, samples: Samples) -> None:
    name = f"{figure.name}, {figure.unit}"
    by_other = {ratio.other: ratio.median for ratio in ratios(samples, figure.name)}
    for label in labels_in_order(list(CONTESTANTS.values()), samples, figure.name):
        taken = values(samples, figure.name, label)
        if not taken:
            continue
        ratio = f"{by_other[label]:.2f}" if label in by_other else ""
        used = values(samples, figure.name, label, "processor")
        processor = number(statistics.median(used)) if used else ""
        spread = (number(min(taken)), number(max(taken)))
        table.add_row(name, label, number(statistics.median(taken)), *spread, ratio, processor)
        name = ""
