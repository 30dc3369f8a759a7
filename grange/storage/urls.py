"""Opens a store by its URL: `memory://`, `sqlite:///file`, `redis://…`, `redis+sentinel://…`, `postgresql://…`.

Third parties add schemes. Called by the silo at start and by tests. A provider joins by an entry point of the group
`grange.storage`: its name is the URL's scheme, its object a class that fulfils `StorageFactory`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from grange.databases.findings import StoreFinding
from grange.databases.providers import load_provider
from grange.databases.secret_urls import usable_url
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import GrainStorage, StorageFactory, TriedStorageFactory

GROUP = "grange.storage"


@asynccontextmanager
async def open_storage(
    url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
) -> AsyncGenerator[GrainStorage]:
    """Open the store that the URL's scheme names, its schema up to date, and close it at exit.

    The URL may have references to secrets, such as `${file:/run/secrets/password}`.

    Raises `ConfigurationError` for a malformed URL, an unknown scheme or a driver that is not installed, and
    `StorageUnavailable` when the database cannot be reached.
    """
    url = await usable_url(url)
    async with storage_factory(url).open(url, service, options) as storage:
        yield storage


def storage_factory(url: str) -> StorageFactory:
    """The provider for a URL's scheme. Raises ConfigurationError as `open_storage` does."""
    return cast("StorageFactory", load_provider(GROUP, url, "storage"))


async def try_storage(url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> list[StoreFinding]:
    """Whether a silo could work with this store; see `TriedStorageFactory`. No findings: its provider has no trial.

    Raises ConfigurationError as `open_storage` does, and what the trial raises.
    """
    url = await usable_url(url)
    factory: object = storage_factory(url)
    return await factory.try_out(url, service, options) if isinstance(factory, TriedStorageFactory) else []
