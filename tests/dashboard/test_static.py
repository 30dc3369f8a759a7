"""The files of the frontend: their size, what they may not contain, and the tests of their modules by Node."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import playwright
import pytest

from tests.architecture.sources import ROOT, shown

STATIC = ROOT / "grange" / "dashboard" / "static"
MODULES = sorted(STATIC.rglob("*.js"))
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
TESTS = sorted((Path(__file__).parent / "js").glob("*.mjs"))
NODE = Path(playwright.__file__).parent / "driver" / "node"

MOST_BYTES = 100_000
"""All files compressed."""

MOST_LINES = 300
MOST_LINES_OF_THE_BUILDER = 60

UNSAFE = re.compile(
    r"\.innerHTML|\.outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|\.cssText"
    r"|setAttribute\('(?:style|on\w+)'|createPolicy|javascript:|\bstyle: [`'\"]|<style|import\(['\"]http"
)
OFF_ORIGIN = re.compile(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-zA-Z0-9][\w-]*\.\w")


def _found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{shown(path)}:{number}: {line.strip()[:100]}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def test_all_files_together_are_small() -> None:
    assert sum(len(gzip.compress(path.read_bytes())) for path in FILES) <= MOST_BYTES


def test_no_file_is_long() -> None:
    lengths = {shown(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}
    assert lengths["grange/dashboard/static/dom.js"] <= MOST_LINES_OF_THE_BUILDER


def test_no_text_becomes_markup_or_code() -> None:
    assert _found(UNSAFE) == []


def test_nothing_is_asked_of_another_origin() -> None:
    assert _found(OFF_ORIGIN) == []
    assert _found(re.compile(r"@import|url\(")) == []


def test_the_page_holds_no_script_and_no_style() -> None:
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page) == []
    assert all(target.startswith("/static/") for target in re.findall(r'(?:src|href)="([^"]+)"', page))


def test_each_file_is_used_and_each_import_has_a_file() -> None:
    used = {STATIC / "index.html"}
    page = (STATIC / "index.html").read_text()
    used |= {STATIC / name for name in re.findall(r'(?:src|href)="/static/([^"]+)"', page)}
    for path in MODULES:
        text = path.read_text()
        used |= {(path.parent / name).resolve() for name in re.findall(r"(?:from|import\() ?'(\.[^']+)'", text)}
    pages = re.findall(r"^  \['[^']*', '(\w+)', \(", (STATIC / "main.js").read_text(), re.MULTILINE)
    used |= {STATIC / "pages" / f"{name}.js" for name in pages}
    assert used == set(FILES)


def test_each_module_states_its_types() -> None:
    assert [
        shown(path)
        for path in MODULES
        if path.name != "theme.js" and not path.read_text().startswith("// @ts-check\n/**")
    ] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_module_is_well_formed(path: Path) -> None:
    command = [NODE, "--check", "--input-type=module"]
    checked = subprocess.run(command, input=path.read_bytes(), capture_output=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stderr.decode()


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem.removesuffix(".test"))
def test_the_modules_keep_their_promises(path: Path) -> None:
    command = [NODE, "--test", "--no-warnings", path]
    tested = subprocess.run(command, capture_output=True, check=False, timeout=100)
    assert tested.returncode == 0, tested.stdout.decode()
