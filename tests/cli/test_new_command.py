"""`grange new`: a starter whose tests pass, and nothing is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grange.cli.commands import main
from grange.cli.exit_codes import ExitCode
from grange.cli.new_command import FILES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(name: str) -> Result:
    return CliRunner().invoke(main, ["new", name])


def in_starter(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_tests_of_a_starter_pass_and_its_silo_is_right(folder: Path) -> None:
    result = new("my-shop")
    assert result.exit_code == 0
    assert "grange dev my_shop.app:silo" in result.output
    starter = folder / "my-shop"
    assert sorted(str(path.relative_to(starter)) for path in starter.rglob("*") if path.is_file()) == sorted(
        path.format(package="my_shop") for path in FILES
    )
    tests = in_starter(starter, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert tests.returncode == 0, tests.stdout
    assert "3 passed" in tests.stdout
    check = in_starter(starter, "grange", "config", "check", "my_shop.app:silo")
    assert check.returncode == 0, check.stderr


def test_a_folder_with_files_is_left_alone(folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "notes.txt").write_text("mine")
    result = new("shop")
    assert result.exit_code == ExitCode.USAGE
    assert "not an empty folder" in result.output
    assert [path.name for path in (folder / "shop").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "name", ["Shop", "1shop", "my--shop", "shop.py", "class", "json", "grange", "tests", "ünsal", "a b"]
)
def test_a_name_that_cannot_be_imported_is_refused(folder: Path, name: str) -> None:
    result = new(name)
    assert result.exit_code == ExitCode.USAGE
    assert repr(name) in result.output
    assert list(folder.iterdir()) == []


def test_no_place_in_a_starter_is_left_open(folder: Path) -> None:
    new("shop")
    for path in (folder / "shop").rglob("*"):
        assert path.is_dir() or "$" not in path.read_text()
