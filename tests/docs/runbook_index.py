"""The index of the runbooks, generated from the pages: `python -m tests.docs.runbook_index` writes it."""

from __future__ import annotations

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "runbooks"
INDEX = PAGES / "README.md"

HEAD = """\
# Runbooks

One page for each alarm. An alarm is a log record of level WARNING or ERROR whose `event` field is the name of the
page. Some pages are of an alert of `deploy/prometheus/alerts.yaml` that no log line tells. All pages have the same
headings: what you see, what it means, what to check, what to do, how it is tested. In a quoted log line, `…` stands
for a value. At most ten lines of one alarm are written in a minute, and the next line counts the lines left out.

Ids such as F1 or F7 are rows of the fault matrix. `make faults` plays most rows. The tests that the page names play the
others.

`python -m tests.docs.runbook_index` generates this table from the pages.

| event or alert | what it means |
|---|---|
"""


def pages() -> list[str]:
    """The events that have a page."""
    return sorted(path.stem for path in PAGES.glob("*.md") if path != INDEX)


def text_of(page: str) -> str:
    return (PAGES / f"{page}.md").read_text("utf-8")


def section(page: str, heading: str) -> str:
    """The text below one `##` heading of a page."""
    return text_of(page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0].strip()


def meaning(page: str) -> str:
    """The first sentence below "What it means"."""
    paragraph = " ".join(section(page, "What it means").split("\n\n")[0].split())
    return re.split(r"(?<=[.:;])\s", paragraph, maxsplit=1)[0].rstrip(":;.").replace("|", "\\|")


def index() -> str:
    return HEAD + "".join(f"| [{page}]({page}.md) | {meaning(page)} |\n" for page in pages())


if __name__ == "__main__":
    INDEX.write_text(index(), "utf-8")
