"""The result of a run as values: figures with their targets, and the rows. Pure; `__main__.py` prints and writes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from rich.table import Table

from tests.processes.faults.round import Round
from tests.processes.faults.steps import STEPS

KILLED = ("F1", "F47")
HUNG = ("F48",)
REFUSED = ("F44", "F45")
OVERLAPPING = ("F5", "F6", "F9", "F10", "F13", "F46", *REFUSED, *KILLED, *HUNG, "F2", "F31", "SETBACK")
"""Rows that lose a silo; in all other rows the cluster is stable and no grain may be active twice."""


class Result(msgspec.Struct, frozen=True):
    """One played round."""

    row: str
    number: int
    seconds: float
    failures: list[str]
    late: list[str]
    figures: dict[str, list[float]]
    notes: dict[str, Any]


class Figure(msgspec.Struct, frozen=True):
    """One line of the table: the value `seen` over all rounds, and its target."""

    name: str
    target: float
    unit: str
    seen: float | None
    samples: int
    ok: bool


class Step(msgspec.Struct, frozen=True):
    """The seconds from the faults of a row to one step after it."""

    row: str
    name: str
    p50: float
    most: float
    samples: int


def result_of(one: Round) -> Result:
    """The result of a round, as it is stored."""
    return Result(one.row, one.number, one.seconds, one.failures, one.late, dict(one.figures), one.notes)


def samples(results: Iterable[Result], name: str, rows: Sequence[str] = (), but: Sequence[str] = ()) -> list[float]:
    """All values of a figure, from some rows or from all."""
    return [
        value
        for result in results
        if (not rows or result.row in rows) and result.row not in but
        for value in result.figures.get(name, ())
    ]


def figures(results: Sequence[Result]) -> list[Figure]:
    """The table of section 7 of the reliability page, limited to faults from outside."""

    def most(name: str, target: float, *of: str, rows: Sequence[str] = (), but: Sequence[str] = ()) -> Figure:
        values = [value for each in of for value in samples(results, each, rows, but)]
        return line(name, target, "s", values, max)

    def none(name: str, *of: str) -> Figure:
        return line(name, 0, "", [value for each in of for value in samples(results, each)], sum)

    def p50(name: str, target: float, rows: Sequence[str]) -> Figure:
        return line(name, target, "s", samples(results, "declared", rows), statistics.median)

    outage = samples(results, "seconds without Redis")
    calls = sum(samples(results, "calls in rolling restarts"))
    return [
        p50("death declared after kill -9, p50", 0.7, ["F1"]),
        most("death declared after kill -9, max", 1.5, "declared", rows=["F1"]),
        p50("death declared after kill -9, one host, p50", 0.7, ["F47"]),
        most("death declared after kill -9, one host, max", 1.5, "declared", rows=["F47"]),
        p50("death declared after a hang, p50", 3.0, HUNG),
        most("death declared after a hang, max", 5.0, "declared", rows=HUNG),
        most("death declared, any fault, max", 8.0, "declared", but=[*KILLED, "F2"]),
        most("calls in flight to a killed silo ended", 0.1, "in-flight calls ended"),
        most("grains callable again after kill -9", 3.5, "grains back", rows=["F1"]),
        most("grains callable again after kill -9, one host", 1.5, "grains back", rows=["F47"]),
        none("false deaths, every row (CPU hog, 2 s pauses)", "false deaths"),
        most("self-fence", 3.0, "self-fence"),
        most("turns after a death that the table told", 0.5, "turns after the death was declared"),
        most("last turn of a silo that is cut off", 3.0, "last turn of a cut-off silo"),
        none("turns of a zombie", "turns of a zombie"),
        most("duplicate window, stable cluster", 0.0, "duplicate window", but=OVERLAPPING),
        most("duplicate window, silo lost or cut off", 3.0, "duplicate window", rows=OVERLAPPING),
        most("duplicate window, silo refused by the others", 0.0, "duplicate window", rows=REFUSED),
        most("death noted in the store after the table had it", 1.0, "death noted in the store"),
        none("second accepted writes (I2), writes of the dead", "broken I2", "writes of the dead"),
        none("acknowledged writes lost or doubled (I1)", "broken I1"),
        none("registers not linearisable (I3)", "broken I3"),
        none("outcomes that lied, calls that never ended (I8)", "broken I8"),
        none("views that went back, dead that returned (I7)", "broken I7"),
        none(f"failed calls in graceful stops, of {calls:.0f}", "failed calls in graceful stops"),
        none(f"failed calls while Redis was away, {max(outage, default=0):.0f} s", "failed calls while Redis was away"),
        most("table rebuilt after it was lost", 30.0, "table rebuilt"),
        none("failed calls while the table was lost", "failed calls while the table was lost"),
        most("joins again after Redis came back", 3.0, "joined after Redis came back"),
        most("calls refused without Postgres", 2.0, "refused without Postgres"),
        most("back after Postgres came back", 5.0, "back after Postgres"),
        most("single silo restarted after kill -9", 5.0, "single silo restarted"),
        none("failed calls while a clock was set by an hour", "failed calls while a clock was set"),
        most("silo restarted with its clock an hour back", 5.0, "restarted an hour back"),
        most("first call after a cold start of all", 10.0, "first call from cold"),
        most("connections renewed after a change of certificates", 60.0, "connections renewed"),
        most("revoked peer cut after the list changed", 15.0, "revoked peer cut"),
        none("failed calls while certificates and authority changed", "failed calls while certificates changed"),
    ]


def steps_seen(results: Sequence[Result]) -> list[Step]:
    """Each step after a death, with its median and its maximum in each row that records it."""
    rows = dict.fromkeys(result.row for result in results)
    found = [(row, name, samples(results, name, [row])) for row in rows for name in STEPS]
    return [
        Step(row, name.removeprefix("step: "), round(statistics.median(values), 3), round(max(values), 3), len(values))
        for row, name, values in found
        if values
    ]


def line(
    name: str, target: float, unit: str, values: Sequence[float], of: Callable[[Sequence[float]], float]
) -> Figure:
    """One figure; without a sample it is neither met nor missed."""
    if not values:
        return Figure(name, target, unit, None, 0, ok=True)
    seen = round(of(values), 3)
    return Figure(name, target, unit, seen, len(values), seen <= target)


def figures_table(lines: Iterable[Figure]) -> Table:
    table = Table("figure", "target", "seen", "samples", "ok", box=None, pad_edge=False, header_style="bold")
    for each in lines:
        seen = "not played" if each.seen is None else f"{each.seen:g} {each.unit}".strip()
        ok = "" if each.seen is None else "yes" if each.ok else "NO"
        table.add_row(each.name, f"≤ {each.target:g} {each.unit}".strip(), seen, str(each.samples), ok)
    return table


def steps_table(seen: Sequence[Step]) -> Table:
    """One line for each step, with two columns for each row: p50 and maximum."""
    rows = list(dict.fromkeys(each.row for each in seen))
    values = {(each.row, each.name): each for each in seen}
    heads = [f"{row} {what}" for row in rows for what in ("p50", "max")]
    table = Table("step after the fault", *heads, "samples", box=None, pad_edge=False, header_style="bold")
    for name in dict.fromkeys(each.name for each in seen):
        cells: list[str] = []
        for row in rows:
            step = values.get((row, name))
            cells += ["", ""] if step is None else [f"{step.p50:.3f} s", f"{step.most:.3f} s"]
        table.add_row(name, *cells, str(sum(each.samples for each in seen if each.name == name)))
    return table


def rows_table(results: Sequence[Result], titles: dict[str, str], skips: dict[str, str]) -> Table:
    table = Table("row", "fault", "rounds", "calls", "without result", "failed rounds", "late rounds", box=None)
    for row, title in titles.items():
        played = [result for result in results if result.row == row]
        if row in skips:
            table.add_row(row, title, "SKIPPED", skips[row])
        if not played:
            continue
        calls = sum(result.notes.get("calls", 0) for result in played)
        bad = sum(sum(result.notes.get("not ok", {}).values()) for result in played)
        failed = sum(bool(result.failures) for result in played)
        late = sum(bool(result.late) for result in played)
        table.add_row(row, title, *(str(each) for each in (len(played), calls, bad, failed, late)))
    return table
