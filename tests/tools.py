"""Programs of the system that tests run: found on PATH, or the test fails and says how to get them."""

from __future__ import annotations

import shutil

import pytest


def tool(name: str) -> str:
    """The path of a program."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: run scripts/install-tools, which says what it needs")
    return path
