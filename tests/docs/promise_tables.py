"""Generates the tables of docs/promises.md: `python -m tests.docs.promise_tables` writes them.

The figures come from the last recorded run of `make faults`, the planted bugs from their patches. The page has each
table between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from tests.docs.pages import ROOT
from tests.planted.planting import Bug, planted_bugs

PAGE = ROOT / "docs" / "promises.md"
RESULTS = ROOT / "tests" / "processes" / "faults" / "results.json"
TABLE = re.compile(r"(?<=<!-- table: )(\w+) -->\n(.*?)(?=<!-- end -->)", re.DOTALL)


def figures() -> str:
    """Each figure of the last `make faults` with its target, and the machine of the run."""
    if not RESULTS.exists():
        return "No run is on record yet.\n"
    run: dict[str, Any] = msgspec.json.decode(RESULTS.read_bytes())
    machine, versions = run["machine"], run["versions"]
    on = f"{machine['cores']} cores, {machine['memory_mib'] // 1024} GiB, Python {versions['python']}"
    rows = ["| figure | target | seen | samples |", "|---|---|---|---|"]
    for line in run["figures"]:
        if line["seen"] is not None:
            missed = "" if line["ok"] else " (**missed**)"
            unit = f" {line['unit']}" if line["unit"] else ""
            rows.append(
                f"| {line['name']} | ≤ {line['target']:g}{unit} | {line['seen']:g}{unit}{missed} | {line['samples']} |"
            )
    calls = sum(row["notes"].get("calls", 0) for row in run["rows"])
    what = f"`make faults ROUNDS={run['rounds']}`, {run['date'][:10]}, commit {run['commit']}, on {on}: "
    record = "([all of it](../tests/processes/faults/results.json))"
    return f"{what}{len(run['rows'])} rounds, {calls:,} calls {record}.\n\n" + "\n".join(rows) + "\n"


def planted() -> str:
    """Each planted bug and the check that finds it."""
    rows = [f"| {bug.words} | {_checker(bug)} |" for bug in planted_bugs()]
    return "\n".join(["| bug | noticed by |", "|---|---|", *rows]) + "\n"


def _checker(bug: Bug) -> str:
    if bug.caught_by[0] == "grange.testing.simulation":
        return "the simulation, within a few seeds"
    return ", ".join(f"`{word}`" for word in bug.caught_by if word.endswith(".py"))


TABLES = {"figures": figures, "planted": planted}


def renewed(text: str) -> str:
    """The page with its tables generated again."""
    return TABLE.sub(lambda found: f"{found[1]} -->\n{TABLES[found[1]]()}", text)


if __name__ == "__main__":
    Path(PAGE).write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
