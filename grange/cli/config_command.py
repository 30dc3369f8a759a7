"""`grange config`: checks the options of a silo, shows them with their sources, prints the schema of grange.toml."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from grange.cli.completion import complete_silo_variable
from grange.cli.output import Output, Rows
from grange.cli.silo_import import named_silo
from grange.cli.streams import json_text, write
from grange.printable import printable
from grange.silo.config import SiloConfig
from grange.silo.option_reference import EffectiveOption, effective_options, json_schema

APP = click.argument("app", metavar="[MODULE:SILO]", required=False, shell_complete=complete_silo_variable)


@click.group("config")
def config_command() -> None:
    """Check, show or describe the options of a silo: of the code, the environment and grange.toml."""


@config_command.command("check")
@APP
def check_command(app: str | None) -> None:
    """Check the options, and with MODULE:SILO the grains, too. Exit code 2 names what is wrong.

    Nothing is opened: `grange doctor` tries the stores.
    """
    given = [option for option in effective_options(_config_of(app)) if option.source != "default"]
    sources = sorted({option.source for option in given})
    found = f"{len(given)} set by {', '.join(sources)}" if given else "all of them defaults"
    write(printable(f"the options are right: {found}"))


@config_command.command("show")
@APP
@click.option("--all", "show_all", is_flag=True, help="Also options that have their defaults.")
@click.option("--json", "as_json", is_flag=True, help="Show the answer as JSON.")
def show_command(app: str | None, show_all: bool, as_json: bool) -> None:
    """Show each option with its value and its source; passwords are hidden.

    Without --all, only those that differ in source from the default.
    """
    options = effective_options(_config_of(app))
    shown = [option for option in options if show_all or option.source != "default"]
    parts: list[Any] = [_table(shown)] if shown else []
    if len(shown) < len(options):
        parts.append(f"{len(options) - len(shown)} options have their defaults; --all shows them")
    Output(as_json).show(shown, *parts)


@config_command.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of grange.toml, for editors and checks.

    In grange.toml, the line `#:schema grange.schema.json` names the file for editors that know Taplo.
    """
    write(json_text(msgspec.json.format(msgspec.json.encode(json_schema()))))


def _config_of(app: str | None) -> SiloConfig:
    if app is None:
        return SiloConfig()
    definition = named_silo(app).definition()
    definition.check()
    return definition.config


def _table(options: list[EffectiveOption]) -> Rows:
    rows = Rows("option", "value", "source")
    for option in options:
        rows.add_texts(option.name, _text(option.value), option.source)
    return rows


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
