"""Every path that a page, a docstring or a comment puts in back-quotes exists, and every link leads somewhere.

A back-quoted path is relative to the repository, to `grange/`, to the folder of the file that names it, or to a folder
above that inside the same room. Text is a path when it ends in a known file suffix or in a slash.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, python_files
from tests.docs.pages import FENCE, ROOT, pages, shown

QUOTED = re.compile(r"(?<!`)`([^`\s]+)`(?!`)")
PATH = re.compile(r"[\w.-][\w./-]*(?:\.(?:py|md|toml|proto|sql|txt)|/)(?=(?:::\w+)?$)")
LINK = re.compile(r"\]\((?!\w+://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)

MADE_BY_USERS: Mapping[str, str] = {
    "grange.toml": "the configuration of an application",
    "shop.py": "the application of the examples",
    "pyproject.toml": "also a file of every application",
}
"""Files that the repository does not hold, and why a page names them."""

RESERVED = re.compile(r"^    .*\(\w+\).*$", re.MULTILINE)
"""The lines of `.importlinter` that keep a place for a room that is not built yet, as `(dashboard)`."""

IN_EVERY_ROOM = frozenset({"__init__.py", "options.py", "provider.py"})
"""The furniture of a room, which pages name for all rooms at once."""

PATTERNS = ("NNNN", "<", "*")
"""Parts of names that stand for many files."""


def prose_of(page: Path) -> str:
    """A page without its fenced blocks; lines keep their numbers."""
    return FENCE.sub(lambda block: "\n" * block[0].count("\n"), page.read_text("utf-8"))


def comments_of(source: Path) -> Iterator[tuple[int, str]]:
    """The docstrings and comments of a Python file, each with its first line's number."""
    begins_a_line = True
    for token in tokenize.generate_tokens(io.StringIO(source.read_text("utf-8")).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and begins_a_line):
            yield token.start[0], token.string
        begins_a_line = token.type in {
            tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENCODING,
        }  # fmt: skip


def paths_in(text: str) -> Iterator[tuple[int, str]]:
    """The back-quoted paths of a text, each with the number of its line, counted from 0."""
    for quoted in QUOTED.finditer(text):
        found = PATH.match(quoted[1])
        if found and not any(pattern in quoted[1] for pattern in PATTERNS):
            yield text.count("\n", 0, quoted.start()), found[0]


def folders_for(file: Path) -> list[Path]:
    """Where a path that `file` names may begin."""
    room = PACKAGE if file.is_relative_to(PACKAGE) else ROOT
    above = [folder for folder in file.parents if folder.is_relative_to(room)]
    return [ROOT, PACKAGE, *above]


@cache
def reserved_rooms() -> frozenset[str]:
    """The rooms that have a place in the layers and need not exist, each with a slash."""
    lines = RESERVED.findall((ROOT / ".importlinter").read_text("utf-8"))
    return frozenset(f"{name}/" for line in lines for name in re.findall(r"\((\w+)\)", line))


def missing(file: Path, text: str, first_line: int = 1) -> list[str]:
    """The back-quoted paths of a text in `file` that do not exist."""
    return [
        f"{shown(file)}:{first_line + line}: {path}"
        for line, path in paths_in(text)
        if path not in MADE_BY_USERS.keys() | IN_EVERY_ROOM | reserved_rooms()
        and not any((folder / path).exists() for folder in folders_for(file))
    ]


def described_pages() -> list[Path]:
    return sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", described_pages(), ids=shown)
def test_the_paths_that_a_page_names_exist(page: Path) -> None:
    assert missing(page, prose_of(page)) == []


def test_the_paths_that_docstrings_and_comments_name_exist() -> None:
    found = [
        line
        for source in python_files(PACKAGE)
        for number, text in comments_of(source)
        for line in missing(source, text, number)
    ]
    assert found == []


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """The anchors that a reader of the rendered page can link to: its headings, and its items' marked words."""
    headings = (re.sub(r"[`*]|\[|\]\([^)]*\)", "", found) for found in HEADING.findall(prose_of(page)))
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("page", pages(), ids=shown)
def test_the_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    broken: list[str] = []
    for target, anchor in LINK.findall(prose_of(page)):
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or not file.is_relative_to(ROOT.resolve()):
            broken.append(target)
        elif anchor and file.suffix == ".md" and anchor not in anchors_of(file):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_what_counts_as_a_path() -> None:
    text = "`a/b.py`, `docs/`, `tests/x.py::test_y`, `x.y`, `redis://`, `NNNN-title.md`\n`<room>/a.py` `c.sql`"
    assert list(paths_in(text)) == [(0, "a/b.py"), (0, "docs/"), (0, "tests/x.py"), (1, "c.sql")]
    assert missing(ROOT / "docs" / "glossary.md", "`promises.md` `runtime/` `shop.py`\n`membership/flat.py`") == [
        "docs/glossary.md:2: membership/flat.py"
    ]
