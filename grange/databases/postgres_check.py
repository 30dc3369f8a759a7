"""Asks a Postgres about itself, for `findings.py`. Entry point of the group `grange.check`."""

from __future__ import annotations

import asyncio

import asyncpg

from grange.databases.findings import StoreFinding, judge_postgres
from grange.databases.migrations import SCHEMA_TABLE
from grange.errors import ConfigurationError, MembershipUnavailable

CHECK_TIMEOUT = 5.0
"""Seconds for connection and questions."""

_SETTINGS = """
SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END AS in_recovery,
    current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,
    current_setting('server_version') AS version, to_regclass($1) IS NOT NULL AS has_schema
"""


async def check_postgres(url: str) -> list[StoreFinding]:
    """See `StoreCheck`. Opens a connection of its own, and changes nothing."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            connection = await asyncpg.connect(url)
            try:
                found = await connection.fetchrow(_SETTINGS, SCHEMA_TABLE)
                assert found is not None  # a SELECT without FROM has one row
                names = ("in_recovery", "synchronous_commit", "fsync", "version")
                settings = {name: str(found[name]) for name in names}
                query = f"SELECT component, version FROM {SCHEMA_TABLE}"
                applied = await connection.fetch(query) if found["has_schema"] else []
            finally:
                connection.terminate()
    except (asyncpg.exceptions.ClientConfigurationError, ValueError) as error:
        raise ConfigurationError(f"the Postgres URL cannot be used: {error}") from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise MembershipUnavailable(f"Postgres cannot be asked: {error!r}") from error
    return judge_postgres(settings, ((row["component"], row["version"]) for row in applied))
