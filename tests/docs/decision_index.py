"""The index of the decision records by theme: `python -m tests.docs.decision_index` writes docs/decisions/README.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.docs.pages import ROOT

RECORDS = ROOT / "docs" / "decisions"
INDEX = RECORDS / "README.md"
PARTS = ("Situation", "Decision", "Other ways", "Consequences")
TITLE = re.compile(r"# (\d{4}): (\S.*)")
STATUS = re.compile(r"(Accepted|Withdrawn|Replaced by \[?\d{4})\b.*")

THEMES: Mapping[str, tuple[int, ...]] = {
    "The project": (1, 4, 55, 71),
    "Grain classes": (58,),
    "Calls, gateways and clients": (2, 3, 46, 56, 60, 62, 64, 65, 66, 67, 80, 82, 83, 84, 85, 93),
    "State and stores": (5, 6, 7, 8, 9, 10, 11, 12, 36, 57, 61, 89, 91, 92, 94, 95, 96),
    "The membership table": (13, 14, 31, 32, 33, 34, 35),
    "Detecting failures": (15, 16, 27, 28, 29, 30, 40, 63, 107, 108),
    "Fencing and pauses": (37, 38, 39),
    "Directory": (20, 21, 22, 23, 24, 25, 26),
    "Connections": (17, 18, 19, 41, 68, 69, 70),
    "Options, the command line and acts": (59, 76),
    "Seeing a cluster": (72, 75, 77, 78),
    "Containers and Kubernetes": (79,),
    "The life of an activation": (81, 86),
    "Reminders and jobs": (90,),
    "Placement and moves": (87,),
    "Stopping a silo": (42, 43, 44, 45),
    "Versions, and code beside grains": (88,),
    "Events and traces": (73, 74),
    "Security": (97, 98, 99, 100, 101, 102, 103, 104, 105, 106),
    "Simulation and fault tests": (47, 48, 49, 50, 51, 52, 53, 54),
}
"""The numbers of the records under each theme. A new record needs a place here; a test checks it."""

HEAD = """\
# Decisions

One record per decision, with its reasons and the alternatives that were rejected. The
[first record](0001-record-decisions.md) says when a record is needed and what it holds. The [design](../design.md) is
the result of all of them.

This index is generated: `python -m tests.docs.decision_index`.
"""


def records() -> list[Path]:
    """The files of all records, in the order of their numbers."""
    return sorted(path for path in RECORDS.glob("*.md") if path != INDEX)


def title_of(record: Path) -> tuple[int, str]:
    """Number and title, from the first line. Raises ValueError when the line has another form."""
    first = record.read_text("utf-8").partition("\n")[0]
    found = TITLE.fullmatch(first)
    if found is None:
        raise ValueError(f"{record.name}: the first line must be `# NNNN: Title`, not {first!r}")
    return int(found[1]), found[2]


def index() -> str:
    """The text of the index page."""
    known = {title_of(path)[0]: path for path in records()}
    parts = [HEAD]
    for theme, numbers in THEMES.items():
        parts.append(f"\n## {theme}\n\n")
        for number in numbers:
            path = known[number]
            parts.append(f"- [{number:04}]({path.name}) {title_of(path)[1]}\n")
    return "".join(parts)


if __name__ == "__main__":
    INDEX.write_text(index(), "utf-8")
