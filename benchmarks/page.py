"""The command `python -m benchmarks.page benchmarks/history/<version>.json`: writes a run into docs/performance.md.

The page has each part between `<!-- table: NAME -->` and `<!-- end -->`; the rest is written by hand. The charts of the
page are written beside it. A run over some figures leaves the other rows out.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import chart
from benchmarks.catalog import CONTESTANTS, FIGURES, Figure, Setting
from benchmarks.history import BESIDE
from benchmarks.processes import ROOT
from benchmarks.results import Samples, labels_in_order, name_of, python_of, ratios, samples_of, values, verdicts
from benchmarks.table import figure_of, measured, number, wanted

PAGE = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "charts"
_TABLE = re.compile(r"(?<=<!-- table: )(\w+) -->\n(.*?)(?=<!-- end -->)", re.DOTALL)
_WIRE = [figure for figure in FIGURES.values() if figure.group == "throughput"]
_LOADS = [figure for figure in FIGURES.values() if figure.group in {"size", "clients", "silos"}]
_ALONE = [figure for figure in FIGURES.values() if figure.setting in {Setting.ALONE, Setting.FRESH, Setting.STATE}]
LONGEST_HOLD = 50.0

Cell = Callable[[Figure, str], str]


@dataclass(frozen=True)
class Record:
    """One run: the results, and what is kept beside them by name. `name` is the file's, below the repository."""

    name: str
    results: Mapping[str, Any]
    beside: Mapping[str, Mapping[str, Any]]

    @property
    def samples(self) -> Samples:
        """The samples of the run."""
        return samples_of(self.results["figures"])


def main() -> int:
    """Write the page and its charts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description="Write figures into the page.")
    parser.add_argument("results", type=Path, help="a results.json")
    record = load(parser.parse_args().results)
    PAGE.write_text(renewed(PAGE.read_text("utf-8"), record), "utf-8")
    CHARTS.mkdir(exist_ok=True)
    for name, text in charts(record.samples).items():
        (CHARTS / name).write_text(text, "utf-8")
    print(f"written: {PAGE.relative_to(ROOT)} and {CHARTS.relative_to(ROOT)}")
    return 0


def load(path: Path) -> Record:
    """Read a run from its file, and what is kept in the files beside it."""
    files = {name: path.with_name(f"{path.stem}.{name}.json") for name in BESIDE}
    beside = {name: json.loads(file.read_text("utf-8")) for name, file in files.items() if file.exists()}
    name = path.resolve().relative_to(ROOT).as_posix()
    return Record(name, json.loads(path.read_text("utf-8")), beside)


def renewed(page: str, record: Record) -> str:
    """Return the page with its parts made from this run. Raises KeyError for a part that is not known."""
    return _TABLE.sub(lambda found: f"{found[1]} -->\n{PARTS[found[1]](record)}", page)


def run(record: Record) -> str:
    """When, where and with what the figures were taken."""
    results, machine = record.results, record.results["machine"]
    granges = {python_of(label): one for label, one in results["contestants"].items() if name_of(label) == "grange"}
    peers = {
        f"{name} {one['versions'][name]}"
        for label, one in results["contestants"].items()
        if (name := name_of(label)) in one["versions"]
    }
    libraries = next(iter(granges.values()))["versions"] if granges else {}
    lines = [
        f"- {results['started'][:10]}, commit {machine['commit']}, {results['lengths']['rounds']} rounds"
        f" of {results['lengths']['seconds']:g} s a figure; `{results['command'].strip()}` took {results['seconds']} s",
        f"- {machine['cpu']}, {machine['cores']} cores, {(machine['memory_mib'] or 0) // 1024} GiB,"
        f" {machine['system']}; load average at the start {machine['load_average_at_start']:g}",
        f"- Python {', '.join(one['python'] for one in granges.values())};"
        f" {', '.join(f'{name} {version}' for name, version in libraries.items())}",
        f"- peers: {', '.join(sorted(peers)) or 'none'}",
        f"- all samples: [{Path(record.name).name}](../{record.name})",
    ]
    if note := results.get("note"):
        lines.append(f"- **{note}**")
    return "\n".join(lines) + "\n"


def targets(record: Record) -> str:
    """Each target and what was measured, on both Pythons."""
    rows = [
        f"| {figure_of(one.target)} | {one.target.subject} | {one.python} | {wanted(one.target, figure)}"
        f" | {measured(one, figure)} | {'met' if one.met else '**missed**'} |"
        for figure in FIGURES.values()
        for one in verdicts(record.samples, figure)
    ]
    return _table(("figure", "contestant", "Python", "target", "measured", ""), rows)


def missed(record: Record) -> str:
    """The targets that were missed."""
    found = [
        f"- {figure_of(one.target)} of {one.target.subject} on {one.python}: {measured(one, figure)},"
        f" target {wanted(one.target, figure)}"
        for figure in FIGURES.values()
        for one in verdicts(record.samples, figure)
        if not one.met
    ]
    return "\n".join(found or ["None of those that the run could judge."]) + "\n"


def ahead(record: Record) -> str:
    """The figures in which a peer did better than grange on gRPC, with grange's share of the peer's value."""
    samples = record.samples
    found = [
        f"- {figure.name}: {ratio.other} ({ratio.subject} / it: {ratio.median:.2f})"
        for figure in FIGURES.values()
        for ratio in ratios(samples, figure.name)
        if CONTESTANTS[name_of(ratio.other)].peer and (ratio.median < 1 if figure.more else ratio.median > 1)
    ]
    return "\n".join(found or ["In no figure of this run."]) + "\n"


def wire(record: Record) -> str:
    """Calls of 1 to 1,000 callers: charts, rates, times of a call, processor times."""
    drawn = "".join(f"![calls a second by callers]({CHARTS.name}/{name})\n" for name in charts(record.samples))
    return f"{drawn}\n{_grids(record.samples, _WIRE)}"


def loads(record: Record) -> str:
    """The same for the other remote loads."""
    return _grids(record.samples, _LOADS)


def alone(record: Record) -> str:
    """The figures of one process, and of state."""
    samples = record.samples
    return _grid(samples, _ALONE, "", lambda figure, label: _spread(samples, figure, label))


def profile(record: Record) -> str:
    """The shares of the steps of a call."""
    if "profile" not in record.beside:
        return "No profile is on record for this run: `make profile` prints one.\n"
    found, names = record.beside["profile"]["processes"], record.beside["profile"]["rows"]
    rows = []
    for name in names:
        cells = [(one["shares"].get(name, 0) * one["microseconds"], one["calls"].get(name, 0)) for one in found]
        if any(microseconds >= 0.1 or calls >= 0.5 for microseconds, calls in cells):
            rows.append(f"| {name} | " + " | ".join(_nonzero(cell) for pair in cells for cell in pair) + " |")
    sums = " | ".join(f"{one['microseconds']:.1f} | {sum(one['calls'].values()):.1f}" for one in found)
    headings = [heading for one in found for heading in (f"{one['name']} μs", "Python calls")]
    overhead = ", ".join(f"{one['name']} {one['overhead']:+.0%}" for one in found)
    return (
        _table(("step", *headings), [*rows, f"| sum | {sums} |"]) + f"\nThe timer added to these times: {overhead}.\n"
    )


def _nonzero(value: float) -> str:
    return f"{value:.1f}" if value >= 0.05 else ""


def stalls(record: Record) -> str:
    """The longest hold of the event loop, load by load."""
    if "stalls" not in record.beside:
        return "Not on record for this run.\n"
    rows = [
        f"| {name} | {number(longest)} | {number(collector)} | {'met' if longest <= LONGEST_HOLD else '**missed**'} |"
        for name, longest, collector in _holds("", record.beside["stalls"])
    ]
    return _table(("load", "longest hold, ms", "of the garbage collector", f"≤ {LONGEST_HOLD:g} ms"), rows)


def _holds(name: str, figures: Mapping[str, Any]) -> Iterable[tuple[str, float, float]]:
    """Yield name, longest hold and longest pass of the collector, of each load and each part of a load."""
    if "longest_ms" in figures:
        yield name, figures["longest_ms"], figures.get("collector_ms", 0.0)
    for part, inner in figures.items():
        if isinstance(inner, Mapping):
            yield from _holds(f"{name}, {part}" if name else part, inner)


PARTS: Mapping[str, Callable[[Record], str]] = {
    part.__name__: part for part in (run, targets, missed, ahead, wire, loads, alone, stalls, profile)
}


def charts(samples: Samples) -> dict[str, str]:
    """Return the charts by file name: calls a second by callers, one for each Python."""
    drawn: dict[str, str] = {}
    pythons = {python_of(label) for figure in _WIRE for label in samples.rows(figure.name)}
    for python in sorted(pythons):
        of_python = [label for label in _labels(samples, _WIRE) if python_of(label) == python]
        series = [chart.Series(name_of(label), tuple(_points(samples, label))) for label in of_python]
        title = f"calls a second by callers, Python {python}"
        axes = (chart.Axis("callers", logarithmic=True), chart.Axis("calls a second", logarithmic=True))
        drawn[f"throughput-{python}.svg"] = chart.lines(title, *axes, series)
    return drawn


def _points(samples: Samples, label: str) -> Iterable[tuple[float, float]]:
    for figure in _WIRE:
        if taken := values(samples, figure.name, label):
            yield float(figure.callers), statistics.median(taken)


def _grids(samples: Samples, figures: Sequence[Figure]) -> str:
    def times(figure: Figure, label: str) -> str:
        medians = [_median(samples, figure, label, part) for part in ("p50", "p99", "p99.9")]
        return " / ".join(medians) if all(medians) else ""

    def processor(figure: Figure, label: str) -> str:
        medians = [_median(samples, figure, label, part) for part in ("client", "server")]
        return " + ".join(medians) if all(medians) else ""

    rates = _grid(samples, figures, "calls a second", lambda figure, label: _spread(samples, figure, label))
    calls = _grid(samples, figures, "time of a call in ms: p50 / p99 / p99.9", times)
    used = _grid(samples, figures, "processor time of a call in μs: client + server", processor)
    return "\n".join((rates, calls, used))


def _grid(samples: Samples, figures: Sequence[Figure], title: str, cell: Cell) -> str:
    """Return a table with a row for each contestant and a column for each figure."""
    taken = [figure for figure in figures if samples.rows(figure.name)]
    rows = [
        f"| {label} | " + " | ".join(cell(figure, label) for figure in taken) + " |"
        for label in _labels(samples, taken)
    ]
    headings = [figure.name if title else f"{figure.name}, {figure.unit}" for figure in taken]
    return _table((title, *headings), rows)


def _labels(samples: Samples, figures: Sequence[Figure]) -> list[str]:
    measured = [set(labels_in_order(list(CONTESTANTS.values()), samples, figure.name)) for figure in figures]
    order = list(CONTESTANTS)
    return sorted(set().union(*measured), key=lambda label: (order.index(name_of(label)), label))


def _spread(samples: Samples, figure: Figure, label: str) -> str:
    taken = values(samples, figure.name, label)
    if not taken:
        return ""
    return f"{number(statistics.median(taken))} ({number(min(taken))} to {number(max(taken))})"


def _median(samples: Samples, figure: Figure, label: str, part: str) -> str:
    taken = values(samples, figure.name, label, part)
    return number(statistics.median(taken)) if taken else ""


def _table(headings: Sequence[str], rows: Sequence[str]) -> str:
    if not rows:
        return "Not measured in this run.\n"
    return "\n".join([f"| {' | '.join(headings)} |", "|" + "---|" * len(headings), *rows]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
