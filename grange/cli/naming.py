"""Names of options in errors, as the command line writes them, and names of grains in arguments."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager

import click

from grange.errors import OptionError


@contextmanager
def naming_options(given: Collection[str]) -> Generator[None]:
    """Let the error for an option that was given on the command line name it as it is written there: `--port`."""
    try:
        yield
    except OptionError as error:
        if error.option not in given:
            raise
        raise error.given_by(f"--{error.option.replace('_', '-')}") from error


def type_alone(_: click.Context, __: click.Parameter, grain_type: str) -> str:
    """The callback of an argument TYPE that KEY follows. Raises BadParameter for `cart/ann`, as tables show grains."""
    name, slash, key = grain_type.partition("/")
    if slash:
        raise click.BadParameter(f"write the type and the key apart: {name} {key}".rstrip())
    return grain_type
