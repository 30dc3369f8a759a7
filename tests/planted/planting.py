"""Plants one bug: copies the sources, applies a patch, and runs the check that must fail."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUGS = Path(__file__).with_name("bugs")
COPIED = ("grange", "tests", "docs", "pyproject.toml")
TIME_LIMIT = 300
"""Seconds within which the check must fail."""


@dataclass(frozen=True)
class Bug:
    """One patch file: a sentence about the bug, `Caught-by:` with the arguments of `python -m`, then the diff."""

    name: str
    words: str
    caught_by: tuple[str, ...]
    path: Path


def planted_bugs() -> list[Bug]:
    """All bugs of the folder, sorted by name."""
    return [_read(path) for path in sorted(BUGS.glob("*.patch"))]


def plant(bug: Bug, folder: Path) -> None:
    """Copy the tree with this bug to `folder`. Raises AssertionError when the patch no longer applies."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results.json"))
        else:
            shutil.copy(source, folder / name)
    # git applies a diff outside a repository too, if no parent folder is a repository.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(bug.path)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{bug.path.name} no longer applies to the code; remake it: {done.stderr}"


def check(bug: Bug, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the check that must fail, in the tree with the bug."""
    return subprocess.run(
        [sys.executable, "-m", *bug.caught_by],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )


def _read(path: Path) -> Bug:
    words: list[str] = []
    caught_by: tuple[str, ...] = ()
    for line in path.read_text().splitlines():
        if line.startswith("diff "):
            break
        if line.startswith("Caught-by:"):
            caught_by = tuple(shlex.split(line.removeprefix("Caught-by:")))
        else:
            words.append(line)
    assert caught_by, f"{path.name} has no Caught-by line"
    return Bug(path.stem, " ".join(words).strip(), caught_by, path)
