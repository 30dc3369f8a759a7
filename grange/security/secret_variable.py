"""`${env:PGPASSWORD}`: a variable of the environment. It does not change while the process runs."""

from __future__ import annotations

import os

from grange.errors import ConfigurationError


class VariableSecrets:
    """See `SecretSource`. The name is that of the variable."""

    def __init__(self, options: object = None) -> None:
        """Variables have no options."""

    async def read(self, name: str, fresh: bool) -> str:
        """See `SecretSource`. An empty variable is none: a supervisor that lacks a value sets it so."""
        value = os.environ.get(name, "")
        if not value:
            state = "empty" if name in os.environ else "not set"
            raise ConfigurationError(f"the environment variable {name!r} is {state}")
        try:
            value.encode()
        except UnicodeEncodeError:  # it holds the value
            raise ConfigurationError(f"the environment variable {name!r} is not UTF-8") from None
        return value

    async def keep(self) -> None:
        """Nothing needs renewal."""

    async def close(self) -> None:
        """Nothing is held."""
