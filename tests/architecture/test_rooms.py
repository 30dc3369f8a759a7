"""Every room describes itself, the drawing shows the tree, and the public names are those that were reviewed."""

from __future__ import annotations

import ast
import importlib
import re
import textwrap

import pytest

from tests.architecture.sources import PACKAGE, ROOT, shown, syntax_tree

ROOMS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
PUBLIC_NAMES = ROOT / "tests" / "architecture" / "public_names.txt"

DRAWING = re.compile(r"^( *)grange/\n(?:\1  .*\n)+", re.MULTILINE)
DRAWN_NAMES = re.compile(r"(?: +\w+(?:/|\.py)(?= ))+")
DRAWN_IN = ("README.md", "CONTRIBUTING.md", "grange/__init__.py")


def drawing(page: str) -> str:
    """The drawing of the rooms on a page, without its indentation."""
    found = DRAWING.search((ROOT / page).read_text())
    assert found, f"{page} has no drawing of the rooms"
    return textwrap.dedent(found[0])


@pytest.mark.parametrize("page", DRAWN_IN)
def test_the_drawing_is_the_same_on_every_page(page: str) -> None:
    assert drawing(page) == drawing("README.md")


@pytest.mark.parametrize("page", DRAWN_IN)
def test_the_drawing_names_exactly_the_rooms(page: str) -> None:
    left = [DRAWN_NAMES.match(line) for line in drawing(page).splitlines()[1:]]
    named = sorted(name for line in left if line for name in line[0].split())
    files = {path.name for path in PACKAGE.glob("*.py")}
    assert named == sorted({f"{room.name}/" for room in ROOMS} | files)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_names_the_file_to_open_first(room) -> None:
    docstring = ast.get_docstring(syntax_tree(room / "__init__.py")) or ""
    named = [name for name in re.findall(r"`([\w/]+\.(?:py|proto))`", docstring) if (room / name).exists()]
    assert named, f"{shown(room)}/__init__.py must name, in backquotes, the file of the room to open first"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_rooms_init_holds_a_docstring_and_at_most_re_exports(room) -> None:
    statements = syntax_tree(room / "__init__.py").body[1:]
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    assert [ast.unparse(step) for step in statements if not isinstance(step, allowed)] == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_file_of_a_room_has_a_docstring(room) -> None:
    silent = [shown(path) for path in room.glob("*.py") if not ast.get_docstring(syntax_tree(path))]
    assert silent == []


def test_the_package_exports_exactly_the_names_that_were_reviewed() -> None:
    """A name added to or lost from `grange` changes the public contract: change the list on purpose."""
    package = importlib.import_module("grange")
    assert sorted(package.__all__) == PUBLIC_NAMES.read_text().split()
    for name in package.__all__:
        assert getattr(package, name).__doc__, f"grange.{name} has no docstring"


def test_the_package_exports_all_errors() -> None:
    """A program that runs a silo meets the errors of its start, an author those of calls."""
    errors = {name for name, each in vars(importlib.import_module("grange.errors")).items() if isinstance(each, type)}
    assert errors <= set(importlib.import_module("grange").__all__)
