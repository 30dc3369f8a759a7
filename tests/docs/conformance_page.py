"""The page of rules and cases, with the tests that cover each: `python -m tests.docs.conformance_page` writes it.

docs/conformance.toml defines the ids. A test covers an id that its file names; a range such as "LIV-01 to LIV-03" names
all ids in between.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tests.docs.pages import ROOT

DEFINITIONS = ROOT / "docs" / "conformance.toml"
PAGE = ROOT / "docs" / "conformance.md"

_ID = r"[A-Z]{3}-\d{2}|[FIRS]\d{1,2}"
CITATION = re.compile(rf"(?<![\w-])({_ID})(?:(?: to |\u2013)({_ID}))?(?![\w-])")
NOT_IDS = frozenset({"UTF-16", "UTF-32"})
OURS = ("tests/docs/", "tests/architecture/")
"""Tests about pages and files, which cite ids only as examples."""

COVERING = re.compile(r"(test_\w+|rows_\w+|round|verdict)\.py")
"""The names of test files that check something; the others are their tools."""

HEAD = """\
# Conformance

Every rule, invariant, fault row and case that the code, the tests and the pages cite by an id, in one sentence each,
with the tests that cover it. The [design](design.md) explains the rules, [promises](promises.md) the invariants.

This page is generated from [conformance.toml](conformance.toml) and from the ids in the tests:
`python -m tests.docs.conformance_page`.
"""


class Definition(msgspec.Struct, frozen=True):
    """One id: what it demands, and what to say when no test cites it."""

    text: str
    through: tuple[str, ...] = ()
    not_yet: str = ""


class Group(msgspec.Struct, frozen=True):
    """The ids under one heading."""

    title: str
    ids: Mapping[str, Definition | str]
    about: str = ""

    def definitions(self) -> dict[str, Definition]:
        return {id: each if isinstance(each, Definition) else Definition(each) for id, each in self.ids.items()}


def groups() -> list[Group]:
    return msgspec.convert(tomllib.loads(DEFINITIONS.read_text("utf-8"))["group"], list[Group])


def definitions() -> dict[str, Definition]:
    """Every id that is defined."""
    return {id: each for group in groups() for id, each in group.definitions().items()}


def cited_in(text: str) -> set[str]:
    """The ids that a text cites, ranges written out."""
    found: set[str] = set()
    for first, last in CITATION.findall(text):
        found |= set(_range(first, last)) if last else {first}
    return found - NOT_IDS


def _range(first: str, last: str) -> Iterator[str]:
    letters, start = re.fullmatch(r"(.*?)(\d+)", first).groups()  # type: ignore[union-attr]
    width = len(start) if "-" in first else 1
    for number in range(int(start), int(last.removeprefix(letters)) + 1):
        yield f"{letters}{number:0{width}}"


def covering_files() -> list[Path]:
    """The files whose citations count as coverage: tests, contract suites and fault rows."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if COVERING.fullmatch(path.name)]
    found = [*tests, *(ROOT / "grange" / "testing" / "contracts").rglob("*.py")]
    return sorted(path for path in found if not path.relative_to(ROOT).as_posix().startswith(OURS))


def coverage() -> dict[str, list[Path]]:
    """Each id with the test files that cite it."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in covering_files():
        for id in cited_in(path.read_text("utf-8")):
            found[id].append(path)
    return found


def page() -> str:
    """The text of the page."""
    covered = coverage()
    parts = [HEAD]
    for group in groups():
        about = f"{group.about}\n\n" if group.about else ""
        parts.append(f"\n## {group.title}\n\n{about}| id | what it demands | tests |\n|---|---|---|\n")
        for id, each in group.definitions().items():
            parts.append(f"| {id} | {each.text} | {_tests(each, covered.get(id, []))} |\n")
    return "".join(parts)


def _tests(definition: Definition, files: list[Path]) -> str:
    links = ", ".join(f"[{path.stem}](../{path.relative_to(ROOT).as_posix()})" for path in files)
    if links:
        return links
    return f"the tests of {', '.join(definition.through)}" if definition.through else f"not yet: {definition.not_yet}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
