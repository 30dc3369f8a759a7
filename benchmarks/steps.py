"""The steps of a call, as `docs/one-call.md` names them: which files belong to which step. Pure.

The page is the one place for it: a step is a numbered item, and its files are those that the item links to. A file that
two items link to belongs to the first one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PAGE = "docs/one-call.md"
OUTSIDE = "the event loop, gRPC and its threads"
BENCHMARK = "the benchmark itself"

_ITEM = re.compile(r"^(\d+)\. (.*?)(?=^\d+\. |^#|\Z)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(\.\./(grange/[^)#]+\.py)\)")


@dataclass(frozen=True)
class Step:
    """One step: its number on the page, and its files, the one that the item starts with first."""

    number: int
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """The number and the first file without its room's folder: `3 calls/outgoing`."""
        return f"{self.number} {'/'.join(self.files[0].removesuffix('.py').split('/')[-2:])}"


def steps_of(page: str) -> list[Step]:
    """Return the steps of the page, in its order."""
    found: list[Step] = []
    taken: set[str] = set()
    for number, text in _ITEM.findall(page):
        files = tuple(dict.fromkeys(file for file in _LINK.findall(text) if file not in taken))
        taken.update(files)
        if files:
            found.append(Step(int(number), files))
    return found


def by_step(seen: Iterable[tuple[str, str, int]], steps: Iterable[Step]) -> dict[str, int]:
    """Add up what was seen, by step. Files that the page does not name count under their own name."""
    step_of: Mapping[str, str] = {file: step.name for step in steps for file in step.files}
    sums: defaultdict[str, int] = defaultdict(int)
    for file, _, times in seen:
        if file.startswith("benchmarks/"):
            sums[BENCHMARK] += times
        else:
            sums[step_of.get(file, file.removeprefix("grange/") or OUTSIDE)] += times
    return dict(sums)


def in_order(names: Iterable[str], steps: Iterable[Step]) -> list[str]:
    """Return the names of rows: the steps as on the page, then other files, then what is no part of grange."""
    first = [step.name for step in steps]
    last = [OUTSIDE, BENCHMARK]
    others = sorted(set(names) - {*first, *last})
    return [*first, *others, *(name for name in last if name in set(names))]
