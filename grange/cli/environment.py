"""Misspelt environment variables: silence about one would start a silo somewhere else than was meant. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from grange.errors import ConfigurationError

PREFIX = "GRANGE_"

_CLOSE = 0.87
"""How alike a name is that must be meant; GRANGE_SERVICE_HOST, which Kubernetes sets, is less like an option."""


def check_names(environment: Iterable[str], options: Collection[str]) -> None:
    """Raises ConfigurationError for a `GRANGE_` variable whose name is almost that of an option.

    Names that resemble none are somebody else's and are left alone: Kubernetes sets some for a service named grange.
    """
    known = {PREFIX + option.upper() for option in options}
    for name in sorted(environment):
        stem = name.partition("__")[0].removesuffix("_FILE")
        if not name.startswith(PREFIX) or stem in known:
            continue
        close = difflib.get_close_matches(stem, known, n=1, cutoff=_CLOSE)
        if close:
            raise ConfigurationError(f"the environment variable {name} is no option; did you mean {close[0]}?")
