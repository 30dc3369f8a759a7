"""Which checks there are for a store, by the scheme of its URL. Called at the silo's start and by `grange doctor`."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol, cast
from urllib.parse import urlsplit

from grange.databases.findings import StoreFinding
from grange.errors import ConfigurationError

GROUP = "grange.check"
"""The entry point group: a scheme, and the `StoreCheck` for it. Other packages add theirs there."""


class StoreCheck(Protocol):
    """Asks a store whether it is safe to rely on, without changing anything in it."""

    async def __call__(self, url: str) -> list[StoreFinding]:
        """Everything that was looked at, also what is fine. Raises a GrangeError when the store cannot be asked."""
        ...


async def check_store(url: str) -> list[StoreFinding]:
    """What is known about the store at this URL; nothing for a scheme without a check.

    Raises ConfigurationError for a driver that is not installed, and what the check raises.
    """
    scheme = url.partition("://")[0]
    found = next(iter(entry_points(group=GROUP, name=scheme)), None)
    if found is None:
        return []
    try:
        check = cast(StoreCheck, found.load())
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"a store at {scheme}:// needs the missing module {error.name!r}") from error
    return await check(url)


def place_of(url: str) -> str:
    """The URL as it may be shown: without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
