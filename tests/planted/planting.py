"""A tree with one bug in it: the sources copied, a patch applied, and the check that has to notice run against it."""

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
COPIED = ("grange", "tests", "pyproject.toml")
TIME_LIMIT = 300
"""Seconds in which the check must have noticed."""


@dataclass(frozen=True)
class Bug:
    """One patch file: what it breaks in words, then `Caught-by:` and a command after `python -m`, then the diff."""

    name: str
    words: str
    caught_by: tuple[str, ...]
    path: Path


def planted_bugs() -> list[Bug]:
    """Every bug of the folder, by name."""
    return [_read(path) for path in sorted(BUGS.glob("*.patch"))]


def plant(bug: Bug, folder: Path) -> None:
    """Make `folder` a copy of the tree with this bug in it. Raises AssertionError when the patch no longer fits."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results.json"))
        else:
            shutil.copy(source, folder / name)
    # git takes a diff outside a repository too, as long as it finds none above.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(bug.path)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{bug.path.name} does not fit the code any more; make it anew: {done.stderr}"


def check(bug: Bug, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run what has to notice the bug, in the tree that has it."""
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
    assert caught_by, f"{path.name} does not say what catches it"
    return Bug(path.stem, " ".join(words).strip(), caught_by, path)
