"""The tables of docs/life-cycle.md have all hooks and all reasons of an end."""

from __future__ import annotations

import re

from grange import DeactivationCode
from grange.grains.hooks import HOOKS
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "life-cycle.md").read_text("utf-8")


def rows(name: str) -> list[str]:
    """The names in the first column of a table."""
    table = PAGE.partition(f"<!-- {name} -->")[2].partition("<!-- end -->")[0]
    return re.findall(r"^\| `(\w+)", table, re.MULTILINE)


def test_all_methods_of_life_are_listed() -> None:
    """LIF-29: the list of the page is that of the code."""
    assert rows("hooks") == list(HOOKS)


def test_all_reasons_of_an_end_are_listed() -> None:
    assert sorted(rows("codes")) == sorted(DeactivationCode)
