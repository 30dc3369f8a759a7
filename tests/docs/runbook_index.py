"""The index of the runbooks, made from the pages: `python -m tests.docs.runbook_index` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "runbooks"
INDEX = PAGES / "README.md"

HEAD = """\
# Runbooks

One page for each alarm: a WARNING or ERROR whose log record carries `event` with the page's name. Each page has the
same parts: what you see, what it means, what to check, what to do, how it is tested. Alarms are logged at most once in
some seconds; the next line says how many were left out. A row such as F1 or F7 is a fault of the plan: most are rows
of `make faults`, the others are played by the tests that the page names.

This table is made from the pages by `python -m tests.docs.runbook_index`.

| event | what it means |
|---|---|
"""


def pages() -> list[str]:
    """The events that have a page."""
    return sorted(path.stem for path in PAGES.glob("*.md") if path != INDEX)


def text_of(page: str) -> str:
    return (PAGES / f"{page}.md").read_text("utf-8")


def meaning(page: str) -> str:
    """The first sentence of what it means."""
    part = re.split(r"What it means\W*?\n?\*{0,2}\s", text_of(page), maxsplit=1)[1]
    paragraph = " ".join(part.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.:;])\s", paragraph, maxsplit=1)[0].rstrip(":;.").replace("|", "\\|")


def index() -> str:
    return HEAD + "".join(f"| [{page}]({page}.md) | {meaning(page)} |\n" for page in pages())


if __name__ == "__main__":
    INDEX.write_text(index(), "utf-8")
