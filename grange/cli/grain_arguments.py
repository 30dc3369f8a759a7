"""Grains as arguments of commands: one word, TYPE/KEY, as tables show it."""

from __future__ import annotations

import click

from grange.cli.completion import complete_grain
from grange.cli.json_call import grain_id_from
from grange.proto.ids import GrainId


def _grain_id(_: click.Context, __: click.Parameter, grain: str) -> GrainId:
    """The grain; the key may contain slashes. Raises ConfigurationError, which shows the right form."""
    return grain_id_from(grain)


one_grain = click.argument("grain", metavar="TYPE/KEY", shell_complete=complete_grain, callback=_grain_id)
"""The argument of a command on one grain; the command gets a GrainId."""


def no_key_apart(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> None:
    """The callback of an argument that takes all further words: a key that is written apart is refused."""
    if words:
        raise click.UsageError(f"{' '.join(words)!r} is too much; write TYPE/KEY in one word, such as cart/ann")


def type_alone(_: click.Context, __: click.Parameter, grain_type: str) -> str:
    """The callback of an argument TYPE. Raises BadParameter for `cart/ann`."""
    name, slash, key = grain_type.partition("/")
    if slash:
        raise click.BadParameter(f"write the type alone; the key goes into an option: {name} --prefix {key}".rstrip())
    return grain_type
