"""Reads how far the tables of a store are, by the scheme of its URL. Called by `grange migrate`.

Apart from `checks.py`, because it reads the files of migrations, which takes a package that few processes need.
"""

from __future__ import annotations

from typing import Protocol, cast

from grange.databases.migrations import SchemaState
from grange.databases.providers import find_provider

GROUP = "grange.schema"
"""The entry point group: the name is a scheme, the object a `SchemaReader`. A store without tables has none."""


class SchemaReader(Protocol):
    """Reads the schema version of a store, without changing anything in it."""

    async def __call__(self, url: str, component: str) -> SchemaState:
        """The version of a component's tables: "storage" or "membership".

        Raises ConfigurationError when the database is newer than this grange, and another GrangeError when the store
        does not answer.
        """
        ...


async def schema_of(url: str, component: str) -> SchemaState | None:
    """The schema version of the store at this URL; None for a scheme without tables. Raises what the reader raises."""
    read = cast("SchemaReader | None", find_provider(GROUP, url))
    return None if read is None else await read(url, component)
