"""A membership table from its URL. Called by the silo's start-up, by clients and by the command line."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from grange.errors import ConfigurationError
from grange.membership.model.provider import MembershipTable, TableFactory

GROUP = "grange.membership"
"""The entry point group in which a scheme is named; other packages add theirs there."""


def open_table(url: str, cluster: str) -> AbstractAsyncContextManager[MembershipTable]:
    """The table of this cluster, open for the length of an `async with`.

    Raises ConfigurationError for a URL without a scheme, a scheme nobody provides, a driver that is not
    installed or an empty cluster name; entering it raises what `TableFactory.open` names.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        shown = url.rpartition("@")[2]  # what stands before it may be a password
        raise ConfigurationError(
            f"not a membership URL: {shown!r}; write 'memory://', 'sqlite:///file.db', "
            f"'redis://host:6379/0' or 'postgresql://user@host/database'"
        )
    if not cluster.strip():
        raise ConfigurationError("a cluster needs a name: every silo and client of it gives the same one")
    return _factory(scheme).open(url, cluster)


def _factory(scheme: str) -> TableFactory:
    known = entry_points(group=GROUP)
    found = next(iter(known.select(name=scheme)), None)
    if found is None:
        names = ", ".join(sorted({point.name for point in known})) or "none; is grange installed?"
        raise ConfigurationError(f"no membership provider for {scheme}://; known schemes: {names}")
    return _loaded(found)


def _loaded(point: EntryPoint) -> TableFactory:
    try:
        return cast(TableFactory, point.load())
    except ModuleNotFoundError as error:
        extra = {"redis": "redis", "asyncpg": "postgres"}.get(error.name or "")
        remedy = f"pip install 'grange[{extra}]'" if extra else "install the package that has it"
        raise ConfigurationError(
            f"membership scheme {point.name}:// needs the missing module {error.name!r}: {remedy}"
        ) from error
