"""The page for operators is complete: every option with its default, every command, every exit code."""

from __future__ import annotations

import re

import click
import pytest

from grange.cli.commands import SUBCOMMANDS, main
from grange.cli.exit_codes import ExitCode
from tests.docs.option_tables import CLASSES, PAGE, TABLE, renewed
from tests.docs.pages import ROOT

COMMANDS = ROOT / "docs" / "operations" / "command-line.md"


def test_every_option_is_on_the_page_as_its_class_has_it() -> None:
    text = PAGE.read_text()
    assert {found[1] for found in TABLE.finditer(text)} == set(CLASSES)
    assert renewed(text) == text, "an option class changed: run python -m tests.docs.option_tables"


def command_named(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", sorted(SUBCOMMANDS))
def test_every_command_is_on_the_page_with_its_options(name: str) -> None:
    section = re.search(rf"^### `grange {name}(?![\w-]).*?(?=^##)", COMMANDS.read_text(), re.MULTILINE | re.DOTALL)
    assert section, f"docs/operations/command-line.md has no section about grange {name}"
    shared = COMMANDS.read_text().partition("### Options of every command that asks")[2].partition("### ")[0]
    for parameter in command_named(name).params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert f"`{option}" in section[0] + shared, f"grange {name} {option}"


def test_every_exit_code_is_on_the_page() -> None:
    section = COMMANDS.read_text().partition("### Exit codes")[2].partition("## ")[0]
    listed = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)
    assert [int(code) for code in listed] == sorted(ExitCode)
