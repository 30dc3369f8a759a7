"""`${file:/run/secrets/pg}`: the text of a file, without the blanks around it.

In Kubernetes it is a key of a mounted Secret. The file is read each time, by its path: where links are swapped, as
Kubernetes does, the new content is found.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from grange.errors import ConfigurationError
from grange.text_files import secret_of


class FileSecrets:
    """See `SecretSource`. The name is the path of the file."""

    def __init__(self, options: object = None) -> None:
        """Files have no options."""

    async def read(self, name: str, fresh: bool) -> str:
        """See `SecretSource`."""
        return await asyncio.to_thread(read_file, name)

    async def keep(self) -> None:
        """Nothing needs renewal."""

    async def close(self) -> None:
        """Nothing is held."""


def read_file(name: str) -> str:
    """The secret in a file. Raises ConfigurationError that says why there is none."""
    try:
        return secret_of(Path(name))
    except ValueError as error:
        raise ConfigurationError(f"the file {name!r} cannot be read: {error}") from None
