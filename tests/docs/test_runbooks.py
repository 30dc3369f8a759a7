"""Every alarm has a page, every page has an alarm, and the index lists them all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.runbook_index import INDEX, index, pages, text_of

ROOT = Path(__file__).parents[2]
ALARMS = {"warning", "error", "exception", "critical", "say"}
EVENT = re.compile(r"[a-z]+(_[a-z]+)+")
PARTS = ("What you see", "What it means", "What to check", "What to do", "How it is tested")


def trees() -> Iterator[ast.Module]:
    for path in sorted((ROOT / "grange").rglob("*.py")):
        if "testing" not in path.parts and "v1" not in path.parts:
            yield ast.parse(path.read_text("utf-8"))


def constants(node: ast.AST) -> set[str]:
    found = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {value for value in found if isinstance(value, str) and EVENT.fullmatch(value)}


def events_of(call: ast.Call) -> set[str]:
    """What follows the message: `extra={"event": …}`, or the event of a RareLog as its last argument."""
    extra = [each.value for each in call.keywords if each.arg in {"extra", "event"}]
    found: set[str] = set()
    for node in extra:
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            values = [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "event"]
            found |= {name for value in values for name in constants(value)}
        else:
            found |= constants(node)
    if call.args[1:] and isinstance(call.args[-1], ast.Constant):
        found |= constants(call.args[-1])
    return found


def alarms() -> set[str]:
    found: set[str] = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ALARMS:
                found |= events_of(node)
    return found


def test_every_alarm_has_a_page() -> None:
    assert "write_fenced" in alarms()
    assert sorted(alarms() - set(pages())) == []


def test_every_page_is_of_an_event_that_exists() -> None:
    known: set[str] = set().union(*map(constants, trees()))
    assert sorted(set(pages()) - known) == []


@pytest.mark.parametrize("page", pages())
def test_a_page_has_all_its_parts_and_names_tests_that_exist(page: str) -> None:
    text = text_of(page)
    assert text.splitlines()[0] in {f"# {page}", f"# `{page}`"}
    assert [part for part in PARTS if part.lower() not in text.lower()] == []
    named = re.findall(r"`((?:tests|grange)/[\w/.]+?)(?:::\w+)?`", text.partition(PARTS[-1])[2])
    assert named, "the last part must name the files of its tests"
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_index_is_made_from_the_pages() -> None:
    assert INDEX.read_text("utf-8") == index(), "run: python -m tests.docs.runbook_index"
