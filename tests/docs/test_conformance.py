"""Every id that is cited is defined, every definition is covered by a test or says why not, and the page shows it."""

from __future__ import annotations

import re

from tests.architecture.sources import tracked_texts
from tests.docs.conformance_page import OURS, PAGE, cited_in, coverage, definitions, page
from tests.docs.pages import ROOT

ROOMS = ("grange/", "tests/", "docs/", "examples/", "benchmarks/", "changes/")


def test_the_page_is_made_from_the_definitions_and_the_tests() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.docs.conformance_page"


def test_every_cited_id_is_defined() -> None:
    known = set(definitions())
    names = {path.relative_to(ROOT).as_posix(): path for path in tracked_texts()}  # not those of an environment
    unknown = {
        f"{name}: {id}"
        for name, path in names.items()
        if (path.suffix in {".py", ".md", ".proto"} and name.startswith(ROOMS)) or re.fullmatch(r"[^/]+\.md", name)
        if not name.startswith(OURS)
        for id in cited_in(path.read_text("utf-8")) - known
    }
    assert sorted(unknown) == []


def test_every_definition_is_covered_or_says_why_not() -> None:
    covered = coverage()
    wrong: list[str] = []
    for id, each in definitions().items():
        if id in covered and (each.through or each.not_yet):
            wrong.append(f"{id}: a test cites it; remove `through` and `not_yet`")
        elif id not in covered and not (each.through or each.not_yet):
            wrong.append(f"{id}: no test cites it")
        wrong += [f"{id}: no test cites {other} either" for other in each.through if other not in covered]
    assert wrong == []


def test_a_range_names_every_id_in_between() -> None:
    assert cited_in("(LIV-01 to LIV-03, I7)") == {"LIV-01", "LIV-02", "LIV-03", "I7"}
    assert cited_in("F9\u2013F11 in UTF-16, MBT-03") == {"F9", "F10", "F11", "MBT-03"}
    assert cited_in("S1 to S3, not S3-like, AWS3 or S123") == {"S1", "S2", "S3"}
