"""S12: every file of others is listed in THIRD_PARTY_NOTICES.md, and the list has no other file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

NOTICES = ROOT / "THIRD_PARTY_NOTICES.md"
ROW = re.compile(r"^\| `([^`]+)` \| .+ \| ([\w.-]+) \| (yes|no) \|$", re.MULTILINE)
MARK = re.compile(
    rb"copyright (?:\(c\)|\xc2\xa9|[12]\d{3})|@licen[cs]e\b|SPDX-License-Identifier|(?:\A|\n)/\*!|sourceMappingURL=",
    re.IGNORECASE,
)
PACKED = frozenset({".gz", ".zip", ".whl", ".jar", ".wasm", ".woff", ".woff2", ".ttf", ".bin"})
CODE = frozenset({".js", ".mjs", ".css"})
LONGEST_LINE = 1000
"""Bytes. A longer line of a script is one that a program has packed."""

THIS = frozenset({"tests/supply/test_notices.py"})


def foreign(name: str, content: bytes) -> bool:
    """Whether a file shows that others wrote it: a mark of a licence, or a packed form."""
    if Path(name).suffix in PACKED or MARK.search(content):
        return True
    return Path(name).suffix in CODE and any(len(line) > LONGEST_LINE for line in content.splitlines())


def tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def listed() -> dict[str, tuple[str, str]]:
    return {path: (licence, wheel) for path, licence, wheel in ROW.findall(NOTICES.read_text("utf-8"))}


def test_every_file_of_others_is_listed() -> None:
    found = {name for name in tracked() if name not in THIS and foreign(name, (ROOT / name).read_bytes())}
    assert found - listed().keys() - {"LICENSE"} == set()


def test_the_list_names_files_that_exist_and_where_they_go() -> None:
    rows = listed()
    assert rows
    for path, (_, wheel) in rows.items():
        assert (ROOT / path).is_file(), path
        assert (wheel == "yes") == path.startswith("grange/"), path


def test_a_licence_in_the_wheel_has_its_text_on_the_page() -> None:
    text = NOTICES.read_text("utf-8")
    for path, (licence, wheel) in listed().items():
        assert wheel == "no" or f"## {licence}\n" in text, f"{path}: the page has no text of {licence}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.js", b"/*! uPlot v1 */"),
        ("a.css", b"/* Copyright (c) 2020 A */"),
        ("a.py", b"# SPDX-License-Identifier: MIT"),
        ("a.js", b"x;" * 501),
        ("a.woff2", b"wOF2"),
    ],
)
def test_what_others_wrote_is_recognised(name: str, content: bytes) -> None:
    assert foreign(name, content)
    assert not foreign("ours.js", b"// @ts-check\nexport const x = 1;\n")
