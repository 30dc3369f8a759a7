"""From a URL to an open storage: `memory://`, `sqlite:///file`, `redis://…`, `postgresql://…`, and third parties'.

Called by the silo at start and by tests. A provider joins in by an entry point of the group `grange.storage`
whose name is the URL's scheme and which names a class that fulfils `StorageFactory`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import cast
from urllib.parse import urlsplit

from grange.errors import ConfigurationError
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import GrainStorage, StorageFactory

GROUP = "grange.storage"

# Drivers that come with an extra of the package, by the module whose import fails without it.
_EXTRAS: Mapping[str, str] = MappingProxyType({"redis": "redis", "asyncpg": "postgres"})


@asynccontextmanager
async def open_storage(
    url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
) -> AsyncGenerator[GrainStorage]:
    """Open the storage that the URL's scheme names, its schema up to date, and close it at exit.

    Raises `ConfigurationError` for a malformed URL, an unknown scheme or a driver that is not installed, and
    `StorageUnavailable` when the database cannot be reached.
    """
    async with storage_factory(url).open(url, service, options) as storage:
        yield storage


def storage_factory(url: str) -> StorageFactory:
    """The provider for a URL's scheme. Raises ConfigurationError as `open_storage` does."""
    scheme, separator, _ = url.partition("://")
    providers = {entry.name: entry for entry in entry_points(group=GROUP)}
    if not separator or scheme not in providers:
        # Only the scheme is shown: the rest may hold a password.
        got = f"the scheme {scheme!r}" if separator else "no scheme"
        known = ", ".join(f"{name}://" for name in sorted(providers))
        raise ConfigurationError(f"the storage URL has {got}; known are {known}")
    try:
        return cast("StorageFactory", providers[scheme].load())
    except ModuleNotFoundError as error:
        raise _not_installed(scheme, error) from error


def has_valid_hosts(url: str) -> bool:
    """Whether every `host[:port]` of a network URL (Postgres allows several) can be one. Pure."""
    try:
        for host in urlsplit(url).netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        return False
    return True


def shown_hosts(url: str) -> str:
    """The `host[:port]` of a network URL, without the user and password that stand before them. Pure."""
    return urlsplit(url).netloc.rpartition("@")[2] or "the default host"


def _not_installed(scheme: str, error: ModuleNotFoundError) -> ConfigurationError:
    missing = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(missing)
    remedy = f'pip install "grange[{extra}]"' if extra else f"pip install {missing}"
    return ConfigurationError(f"storage {scheme}:// needs the package {missing}, which is not installed: {remedy}")
