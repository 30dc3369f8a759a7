"""The decision records have one format and no gaps, and the index lists each of them once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.decision_index import INDEX, PARTS, RECORDS, STATUS, THEMES, index, records, title_of
from tests.docs.pages import ROOT

CITED = re.compile(r"\bADRs? (\d{4})(?:(?:, | and | to )(\d{4}))*|\bdecisions/(\d{4})")


def test_the_numbers_have_no_gaps() -> None:
    assert [title_of(path)[0] for path in records()] == list(range(1, len(records()) + 1))


def test_every_record_has_one_theme() -> None:
    listed = Counter(number for numbers in THEMES.values() for number in numbers)
    assert listed == Counter(title_of(path)[0] for path in records()), "give the record a theme in decision_index.py"


def test_the_index_is_made_from_the_records() -> None:
    assert INDEX.read_text("utf-8") == index(), "run: python -m tests.docs.decision_index"


@pytest.mark.parametrize("record", records(), ids=lambda path: path.stem)
def test_a_record_has_a_number_a_status_and_the_four_parts(record: Path) -> None:
    text = record.read_text("utf-8")
    number, _ = title_of(record)
    assert record.name.startswith(f"{number:04}-")
    assert STATUS.match(text.splitlines()[2]), f"{record.name}: the third line must be its status"
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == PARTS


def test_every_cited_record_exists() -> None:
    known = {path.name[:4] for path in RECORDS.glob("0*.md")}
    sources = [path for room in ("grange", "tests", "docs") for path in (ROOT / room).rglob("*") if path.is_file()]
    unknown = [
        f"{path.relative_to(ROOT)}: {number}"
        for path in sources
        if path.suffix in {".py", ".md"}
        for found in CITED.finditer(path.read_text("utf-8"))
        for number in re.findall(r"\d{4}", found[0])
        if number not in known
    ]
    assert unknown == []
