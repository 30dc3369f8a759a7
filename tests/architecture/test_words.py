"""The field's words only: no empty names, no unfinished work, no indirect pronouns; the glossary explains the terms."""

from __future__ import annotations

import ast
import re

from tests.architecture.sources import PACKAGE, ROOT, nodes, python_files, shown, tracked_texts

BANNED_ENDINGS = ("Manager", "Helper", "Util", "Utils", "Info", "Data", "Center", "Handler")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|for now|not implemented|placeholder|simplified)\b", re.IGNORECASE)

INDIRECT = re.compile(
    r"(?<![a-z])(?:nobody|somebody|anybody|everybody|whoever|whatever|whomever)(?:'?s)?(?![a-z])", re.IGNORECASE
)
"""Pronouns that hide the subject of a sentence; name it: no silo, the caller, all waiters. Also in identifiers."""
PROSE = (
    "grange/",
    "tests/",
    "examples/",
    "benchmarks/",
    "docs/",
    "changes/",
    "scripts/",
    "README.md",
    "CONTRIBUTING.md",
)
QUOTED_THERE = "CONTRIBUTING.md"
"""The page that may quote the list of banned words, in one line that starts its quotation with "Banned"."""
THIS = "tests/architecture/test_words.py"

WORDS = """
    silo, grain, activation, grain id, reference, interface, turn, mailbox, reentrancy, interleave, placement,
    directory, ring, range, claim, membership table, view, generation, probe, vote, suspect, gateway, client,
    observer, reminder, timer, stream, provider, etag, lease, fence, drain, stop, close, kill, migrate, room, sub-room
""".replace("\n", " ")


def test_no_class_has_a_name_that_says_nothing() -> None:
    named = [f"{place} {node.name}" for place, node in nodes(PACKAGE, ast.ClassDef)]
    assert [name for name in named if name.endswith(BANNED_ENDINGS)] == []


def test_no_file_is_a_drawer_for_leftovers() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
    assert [shown(path) for path in python_files(PACKAGE) if path.stem in drawers] == []


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in python_files(PACKAGE)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []


def test_no_text_hides_its_subject_behind_a_pronoun() -> None:
    found = [
        f"{shown(path)}:{number}: {line.strip()[:120]}"
        for path in tracked_texts()
        if shown(path).startswith(PROSE) and shown(path) != THIS
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1)
        if INDIRECT.search(line) and not (shown(path) == QUOTED_THERE and "Banned" in line)
    ]
    assert found == []


def test_the_pronouns_are_found_in_prose_and_in_names() -> None:
    for text in ("Nobody waits.", "def test_whoever_asks_is_told()", "nobody's grain", "NOBODY_KNOWS"):
        assert INDIRECT.search(text)
    for text in ("a body", "somebodyless", "what ever", "anybodyx"):
        assert not INDIRECT.search(text)


def test_the_glossary_explains_every_word_once() -> None:
    lines = (ROOT / "docs" / "glossary.md").read_text().splitlines()
    explained = [word for line in lines if line.startswith("**") for word in re.findall(r"\*\*(.+?)\*\*", line)]
    assert sorted({word.strip() for word in WORDS.split(",")} - set(explained)) == []
    assert len(explained) == len(set(explained))
