"""Every alarm has a runbook page, every page has one format, and the index lists all pages."""

from __future__ import annotations

import ast
import logging
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.docs.event_catalogue import constants, in_words, kinds, names_in_log_calls, trees
from tests.docs.runbook_index import INDEX, index, pages, section, text_of

ROOT = Path(__file__).parents[2]
ALARMS = {"warning", "error", "exception", "critical"}
HEADINGS = ["What you see", "What it means", "What to check", "What to do", "How it is tested"]
LOG_LINE = re.compile(r"^(INFO|WARNING|ERROR): `([^`\n]+)`$", re.MULTILINE)
"""A quoted log line: its level and its message, with `…` for each value."""

ALERT = re.compile(r"^ALERT: `(\w+)`$", re.MULTILINE)
"""The name of an alert in deploy/prometheus, on the page of a state that no log line tells."""

RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"

QUOTED_TEXT = re.compile(r"`((?!grange |make )[a-z…][a-z ,;:…-]+)`")
"""Part of a message that the text of a page quotes: plain words, at least three of them."""

PLACEHOLDER = re.compile(r"%[-#0-9.]*[a-z]|\{\w+[^}]*\}")
EDGES = " :;,.\n"
"""What a log call may put between two parts of a message."""


@cache
def message_parts() -> tuple[str, ...]:
    """Every string of the package without its placeholders; docstrings do not count."""
    parts: set[str] = set()
    for tree in trees():
        nodes = list(ast.walk(tree))
        prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        strings = (node for node in nodes if isinstance(node, ast.Constant) and id(node) not in prose)
        texts = (in_words(node.value) for node in strings if isinstance(node.value, str))
        parts |= {part for text in texts for part in PLACEHOLDER.split(text)}
    return tuple(parts)


def alarms() -> set[str]:
    return names_in_log_calls(ALARMS) | {name for name, kind in kinds().items() if kind.LEVEL >= logging.WARNING}


def test_every_alarm_has_a_page() -> None:
    assert "write_fenced" in alarms()
    assert sorted(alarms() - set(pages())) == []


def alerts() -> dict[str, str]:
    """The page that each alert names."""
    rules = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    return {rule["alert"]: Path(rule["annotations"]["runbook"]).stem for rule in rules}


def test_every_page_is_of_an_event_or_of_an_alert() -> None:
    known: set[str] = set().union(*map(constants, trees()))
    assert sorted(set(pages()) - known - set(alerts().values())) == []


def test_the_page_of_an_alert_and_the_alert_name_each_other() -> None:
    named = {(alert, page) for page in pages() for alert in ALERT.findall(text_of(page))}
    assert named
    assert sorted(named - set(alerts().items())) == []


@pytest.mark.parametrize("page", pages())
def test_every_page_has_the_same_headings_in_the_same_order(page: str) -> None:
    text = text_of(page)
    assert text.splitlines()[0] == f"# `{page}`"
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE)[1:] == HEADINGS
    assert [heading for heading in HEADINGS if not section(page, heading)] == []


@pytest.mark.parametrize("page", pages())
def test_a_page_begins_with_the_log_line_and_its_level(page: str) -> None:
    first = section(page, "What you see").splitlines()[0]
    assert LOG_LINE.fullmatch(first) or ALERT.fullmatch(first), (
        f"{first!r} must be LEVEL: `message`, with … for each value, or ALERT: `name`"
    )


@pytest.mark.parametrize("page", pages())
def test_the_quoted_log_lines_are_those_of_the_code(page: str) -> None:
    """Each fixed part of a quoted message stands in a string of the package."""
    messages = [message for _, message in LOG_LINE.findall(text_of(page))]
    messages += [text for text in QUOTED_TEXT.findall(text_of(page)) if len(text.split()) >= 3]
    for message in messages:
        fixed = [part.strip(EDGES) for part in message.split("…")]
        unknown = [part for part in fixed if not any(part in text for text in message_parts())]
        assert unknown == [], f"{page}.md quotes a message that the code does not log: {message}"


@pytest.mark.parametrize("page", pages())
def test_a_page_names_tests_that_exist(page: str) -> None:
    named = re.findall(r"`((?:tests|grange)/[\w/.]+?)(?:::\w+)?`", section(page, HEADINGS[-1]))
    assert named, "the last section must name the files of its tests"
    assert [path for path in named if not (ROOT / path).exists()] == []
    code = "".join((ROOT / path).read_text("utf-8") for path in named)
    functions = re.findall(r"\b(test_\w+)`", section(page, HEADINGS[-1]))
    assert [name for name in functions if f"def {name}(" not in code] == []


def test_the_index_is_generated_from_the_pages() -> None:
    assert INDEX.read_text("utf-8") == index(), "run: python -m tests.docs.runbook_index"
