"""Every event in the code is in the catalogue and on its page, and every entry of the catalogue is in the code."""

from __future__ import annotations

import ast

import pytest

from tests.docs.event_catalogue import EVENT, LOG_LINES, PAGE, kinds, names_in_log_calls, page, trees

LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def names_used() -> set[str]:
    """The attributes and names that stand in the code, outside the catalogue's own declarations."""
    nodes = [node for tree in trees() for node in ast.walk(tree)]
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return attributes | {node.id for node in nodes if isinstance(node, ast.Name)}


def test_every_name_in_a_log_line_is_described_once() -> None:
    assert names_in_log_calls(LOG_METHODS) - set(kinds()) == set(LOG_LINES)
    assert set(LOG_LINES).isdisjoint(kinds())


def test_every_declared_event_is_published() -> None:
    assert {kind.__name__ for kind in kinds().values()} - names_used() == set()


@pytest.mark.parametrize("name", kinds())
def test_a_declaration_fits_together(name: str) -> None:
    kind = kinds()[name]
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).lstrip("_")
    assert name == words
    assert EVENT.fullmatch(name)
    fields = set(kind.__struct_fields__)
    assert {*kind.KEY, *([kind.BLOCK] if kind.BLOCK else [])} <= fields
    assert kind.__doc__, f"{kind.__name__} must say what happened"
    assert "\n" not in kind.SENTENCE


def test_the_page_is_generated_from_the_code() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.docs.event_catalogue"
