"""Every code block of README and docs is correct: code runs, commands exist, files parse."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from tests.docs.pages import ROOT, Block, blocks, pages, shown

SHELLS = {"sh", "bash", "console"}
LANGUAGES = SHELLS | {"python", "text", "toml", "json", "yaml", "sql", "proto", "ini", "dockerfile"}
ELSEWHERE = {
    "pip",
    "docker",
    "cd",
    "git",
    "curl",
    "kill",
    "export",
    "source",
    "python3",
    "psql",
    "redis-cli",
    "kubectl",
    "helm",
    "vault",
}
"""Programs of other projects; these tests do not check them."""

MODULES_ELSEWHERE = {"grpc_tools.protoc", "pip", "pytest", "venv"}
PAGE_SECONDS = 100
PAGES = pytest.mark.parametrize("page", pages(), ids=shown)


@PAGES
def test_the_python_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    if any(block.language == "python" for block in blocks(page)):
        result = run_blocks(page, tmp_path)
        assert result.returncode == 0, f"{shown(page)}\n{result.stdout}\n{result.stderr}"


def test_a_block_that_fails_names_its_line_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```python\n# shop.py\nx = 1\n```\n\n```python\nimport shop\nassert shop.x == 2\n```\n")
    result = run_blocks(page, tmp_path)
    assert result.returncode == 1
    assert 'page.md", line 10' in result.stderr
    assert "AssertionError" in result.stderr


def run_blocks(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.docs.run_blocks", str(page)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GRANGE_PORT": "0", "GRANGE_GATEWAY_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=PAGE_SECONDS,
        check=False,
    )


@PAGES
def test_the_commands_of_a_page_exist(page: Path) -> None:
    for block in blocks(page):
        if block.language in SHELLS:
            for command in commands(block):
                check_command(command, f"{shown(page)}:{block.line}")


@PAGES
def test_every_block_of_a_page_names_its_language_and_parses(page: Path) -> None:
    for block in blocks(page):
        where = f"{shown(page)}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: mark the block as one of {sorted(LANGUAGES)}"
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml":
            yaml.safe_load(block.text)


@PAGES
def test_the_links_of_a_page_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!\w+://|#|mailto:)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def commands(block: Block) -> list[list[str]]:
    """The commands of a shell block; in a console block only the lines after a prompt are commands."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line for line in lines if line.startswith("$ ")]
    parsed = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [command for line in parsed for command in _simple_commands(line) if command]


def _simple_commands(words: list[str]) -> list[list[str]]:
    """Split at `&&`, `|` and `&`; drop variable assignments before a command."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word in {"&&", "|", "&", ";"}:
            parts.append([])
        elif parts[-1] or not re.match(r"[A-Z_]+=", word):
            parts[-1].append(word)
    return parts


def check_command(command: list[str], where: str) -> None:
    program, *arguments = command
    if program == "make":
        targets = [argument for argument in arguments if "=" not in argument and not argument.startswith("-")]
        makefile = (ROOT / "Makefile").read_text()
        for target in targets:
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"{where}: make {target}"
    elif program in {"grange", ".venv/bin/grange"}:
        check_grange(arguments, where)
    elif program in {"python", ".venv/bin/python"} and arguments[:1] == ["-m"]:
        ours = (ROOT / arguments[1].split(".")[0]).is_dir()
        assert not ours or importlib.util.find_spec(arguments[1]), f"{where}: python -m {arguments[1]}"
        assert ours or arguments[1] in MODULES_ELSEWHERE, f"{where}: python -m {arguments[1]}"
    elif "/" in program:
        assert (ROOT / program).exists(), f"{where}: {program}"
    else:
        assert program in ELSEWHERE | {"python"}, f"{where}: is {program} a program that readers have?"


def check_grange(words: list[str], where: str) -> None:
    """Check that the command line accepts these words; no command is carried out."""
    command: click.Command = importlib.import_module("grange.cli.commands").main
    context: click.Context | None = None
    name: str | None = "grange"
    arguments = list(words)
    try:
        while isinstance(command, click.Group):
            context = command.make_context(name, list(arguments), parent=context)
            rest = [*context._protected_args, *context.args]
            if command.invoke_without_command and not rest:
                return
            name, found, arguments = command.resolve_command(context, rest)
            assert found is not None
            command = found
        command.make_context(name, list(arguments), parent=context)
    except click.exceptions.Exit:
        return  # --help and --version answer at once
    except click.ClickException as error:
        pytest.fail(f"{where}: {shlex.join(['grange', *words])}: {error.format_message()}")
