"""Opens the table of the audit by its URL: `sqlite:///file`, `postgresql://…`. Third parties add schemes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from grange.audit.provider import AuditTable, AuditTableFactory, Origin
from grange.databases.errors import DatabaseError
from grange.databases.providers import load_provider
from grange.databases.secret_urls import usable_url
from grange.databases.urls import scheme_of
from grange.errors import ConfigurationError, StorageUnavailable

GROUP = "grange.audit"

_NO_REDIS = (
    "Redis is not offered for the audit: it has no right to add rows without the right to remove them, and may evict "
    "or lose the last ones; name a database: sqlite:///file.db or postgresql://user@host/database"
)


def check_url(url: str) -> None:
    """Raise ConfigurationError for a URL that names no table of an audit. Nothing is opened."""
    if (scheme_of(url) or "").startswith(("redis", "valkey")):
        raise ConfigurationError(_NO_REDIS)
    load_provider(GROUP, url, "audit")


@asynccontextmanager
async def open_audit(url: str, origin: Origin) -> AsyncGenerator[AuditTable]:
    """Open the table that the URL's scheme names. It may have references to secrets.

    Raises ConfigurationError, and StorageUnavailable.
    """
    url = await usable_url(url)
    check_url(url)
    factory = cast("AuditTableFactory", load_provider(GROUP, url, "audit"))
    try:
        opened = factory.open(url, origin)
        table = await opened.__aenter__()
    except DatabaseError as error:
        raise StorageUnavailable(f"the table of the audit cannot be opened: {error}") from error
    try:
        yield table
    finally:
        await opened.__aexit__(None, None, None)
