"""Completion in a shell: words for each argument, a script for each shell, and silence where nothing is known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from grange.cli.commands import SUBCOMMANDS, main


@pytest.fixture(autouse=True)
def _folder_of_an_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(
        "raise SystemExit('completion must not import this')\n"
        "silo = Silo(grains=[])\nother: silo.Silo = grange.silo.Silo(\n    grains=[])\n  inner = Silo()\nnumber = 5\n"
    )
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "__init__.py").write_text("app = Silo(grains=[])\n")
    (tmp_path / "orders" / "main.py").write_text("silo=Silo(grains=[])\n")
    (tmp_path / "not-a-module.py").write_text("silo = Silo(grains=[])\n")
    (tmp_path / "binary.py").write_bytes(b"\xff\0silo = Silo(")


def completed(*words: str) -> list[str]:
    """The words that complete the last of these."""
    *before, incomplete = words
    complete = BashComplete(main, {}, "grange", "_GRANGE_COMPLETE")
    return [item.value for item in complete.get_completions(list(before), incomplete)]


def test_subcommands_and_options_are_completed() -> None:
    assert completed("") == sorted(SUBCOMMANDS)
    assert completed("d") == ["dashboard", "deactivate", "declare-dead", "dev", "doctor", "drain"]
    assert completed("--de") == ["--debug"]
    assert "--probe-port" in completed("run", "--p")


@pytest.mark.parametrize("command", ["run", "dev", "doctor"])
def test_silos_of_this_folder_are_found_without_an_import(command: str) -> None:
    assert completed(command, "") == ["orders:app", "orders.main:silo", "shop:silo", "shop:other"]
    assert completed(command, "shop:o") == ["shop:other"]
    assert "shop" not in sys.modules


@pytest.mark.parametrize("words", [("drain", ""), ("grains", ""), ("call", ""), ("call", "cart/ann", "")])
@pytest.mark.parametrize("variable", ["GRANGE_GATEWAY_PORT", "GRANGE_PROT", "GRANGE_MEMBERSHIP"])
def test_a_cluster_that_does_not_answer_completes_nothing(
    words: tuple[str, ...], variable: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor does a wrong configuration; an error would be written into the line that is being typed."""
    monkeypatch.setenv(variable, "1")
    assert completed(*words) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("shell", "registers"),
    [
        ("bash", "complete -o nosort -F _grange_completion grange"),
        ("zsh", "#compdef grange"),
        ("fish", "--command grange"),
    ],
)
def test_the_script_of_each_shell_is_printed(shell: str, registers: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0, result.output
    assert registers in result.stdout
    assert f"_GRANGE_COMPLETE={shell}_complete" in result.stdout
    assert result.stderr == ""


def test_without_a_shell_the_shells_are_listed_in_one_line() -> None:
    assert "Choose from: bash, zsh, fish\n" in CliRunner().invoke(main, ["completion"]).stderr


def test_an_unknown_shell_is_refused() -> None:
    result = CliRunner().invoke(main, ["completion", "csh"])
    assert result.exit_code == 2
