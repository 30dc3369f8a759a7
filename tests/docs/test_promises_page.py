"""The page of promises shows exactly the recorded figures and the planted bugs."""

from __future__ import annotations

from tests.docs.promise_tables import PAGE, TABLE, TABLES, renewed


def test_the_tables_match_the_record() -> None:
    text = PAGE.read_text("utf-8")
    assert {found[1] for found in TABLE.finditer(text)} == set(TABLES)
    assert renewed(text) == text, "run python -m tests.docs.promise_tables"
