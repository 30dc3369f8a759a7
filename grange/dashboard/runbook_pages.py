"""The runbooks: what an alarm means, and what to do. They are pages of the documentation, and in the wheel as data."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent

FOLDERS = (HERE / "runbooks", HERE.parents[1] / "docs" / "runbooks")
"""Where they are: in an installed package, and in a checkout of the project."""

_NAME = re.compile("[a-z_]{1,100}")


def runbook(name: str) -> str | None:
    """The page of this name, in Markdown; None if there is none."""
    if not _NAME.fullmatch(name):
        return None
    files = (folder / f"{name}.md" for folder in FOLDERS)
    return next((file.read_text("utf-8") for file in files if file.is_file()), None)
