"""Reads the files of the project for the architecture tests."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "grange"
GENERATED = PACKAGE / "proto" / "_generated"


@cache
def python_files(folder: Path) -> tuple[Path, ...]:
    """Every hand-written Python file below a folder: not generated code, and no file of an environment."""
    return tuple(
        path
        for path in sorted(folder.rglob("*.py"))
        if not path.is_relative_to(GENERATED)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def nodes(folder: Path, *kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Every syntax node of these kinds below a folder, with its place for a message."""
    for path in python_files(folder):
        for node in ast.walk(syntax_tree(path)):
            if isinstance(node, kinds):
                yield f"{shown(path)}:{getattr(node, 'lineno', 1)}", node


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tracked_texts() -> tuple[Path, ...]:
    """Every text file that git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / line for line in listed.stdout.splitlines())
    return tuple(path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096])
