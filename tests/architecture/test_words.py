"""The field's words only, and nothing left unfinished."""

from __future__ import annotations

import ast
import re

from tests.architecture.sources import PACKAGE, ROOT, nodes, python_files, shown

BANNED_ENDINGS = ("Manager", "Helper", "Util", "Utils", "Info", "Data", "Center", "Handler")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|for now|not implemented|placeholder|simplified)\b", re.IGNORECASE)
WORDS = """
    silo, grain, activation, grain id, reference, interface, turn, mailbox, reentrancy, interleave, placement,
    directory, ring, range, claim, membership table, view, generation, probe, vote, suspect, gateway, client,
    observer, reminder, timer, stream, provider, etag, lease, fence, drain, migrate
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


def test_the_glossary_explains_every_word_in_one_line() -> None:
    explained = re.findall(r"^\*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert sorted({word.strip() for word in WORDS.split(",")} - set(explained)) == []
    assert len(explained) == len(set(explained))
