"""Runs the safety check of a store. Called at the silo's start and by `grange doctor`."""

from __future__ import annotations

from typing import Protocol, cast

from grange.databases.findings import StoreFinding
from grange.databases.providers import find_provider

GROUP = "grange.check"
"""The entry point group: the name is a scheme, the object a `StoreCheck`. Other packages add theirs there."""


class StoreCheck(Protocol):
    """Checks whether a store is safe to rely on, without changing anything in it."""

    async def __call__(self, url: str) -> list[StoreFinding]:
        """Every fact that was checked, also those that are fine.

        Raises a GrangeError when the store cannot be checked, for example because it does not answer.
        """
        ...


async def check_store(url: str) -> list[StoreFinding]:
    """The findings about the store at this URL; none for a scheme without a check.

    Raises ConfigurationError for a driver that is not installed, and what the check raises.
    """
    check = cast("StoreCheck | None", find_provider(GROUP, url))
    return [] if check is None else await check(url)
