"""The page of promises shows the figures on record and every planted bug, and nothing else."""

from __future__ import annotations

from tests.docs.promise_tables import PAGE, TABLE, TABLES, renewed


def test_the_tables_are_what_was_seen() -> None:
    text = PAGE.read_text("utf-8")
    assert {found[1] for found in TABLE.finditer(text)} == set(TABLES)
    assert renewed(text) == text, "run python -m tests.docs.promise_tables"
