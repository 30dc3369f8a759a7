"""Opens a membership table by its URL. Called by the silo's start-up, by clients and by the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from grange.databases.findings import StoreFinding
from grange.databases.providers import load_provider
from grange.databases.secret_urls import needs_secrets, usable_url
from grange.errors import ConfigurationError
from grange.membership.model.provider import MembershipTable, TableFactory, TriedTableFactory

GROUP = "grange.membership"
"""The entry point group: the name is a scheme, the object a `TableFactory`. Other packages add theirs there."""


def open_table(url: str, cluster: str) -> AbstractAsyncContextManager[MembershipTable]:
    """The table of this cluster, open for the length of an `async with`.

    The URL may have references to secrets, such as `${file:/run/secrets/password}`; then the first of these errors
    come on entering it. Raises ConfigurationError for an unknown scheme, a driver that is not installed or an empty
    cluster name. Entering it raises what `TableFactory.open` names.
    """
    if needs_secrets(url):
        return _with_secrets(url, cluster)
    factory = cast(TableFactory, load_provider(GROUP, url, "membership"))
    if not cluster.strip():
        raise ConfigurationError("a cluster needs a name: every silo and client of it gives the same one")
    return factory.open(url, cluster)


@asynccontextmanager
async def _with_secrets(url: str, cluster: str) -> AsyncGenerator[MembershipTable]:
    async with open_table(await usable_url(url), cluster) as table:
        yield table


async def try_table(url: str, cluster: str) -> list[StoreFinding]:
    """Whether a silo could work with this table; see `TriedTableFactory`. No findings: its provider has no trial.

    Raises ConfigurationError as `open_table` does, and what the trial raises.
    """
    url = await usable_url(url)
    factory: object = load_provider(GROUP, url, "membership")
    return await factory.try_out(url, cluster) if isinstance(factory, TriedTableFactory) else []
