"""Names of options in errors, as the command line writes them."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager

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
