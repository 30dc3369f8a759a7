"""Has a tree of grange that was checked out count as installed: its own entry points are found."""

from __future__ import annotations

import tomllib
from pathlib import Path


def describe(tree: Path) -> None:
    """Write the description of the package beside its code: a process that runs in `tree` finds this one first."""
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    described = tree / "grange-0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: grange\nVersion: 0\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in points.items()))
    ]
    (described / "entry_points.txt").write_text("\n".join(lines))
