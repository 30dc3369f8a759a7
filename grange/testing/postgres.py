"""An empty database for each test, on a Postgres server that the tests share."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg


@asynccontextmanager
async def fresh_database(dsn: str) -> AsyncGenerator[str, None]:
    """Create an empty database and return its DSN; drop it, with its connections, when the block ends.

    The user in `dsn` must be allowed to create databases, as with `grange.testing.postgres_server`.
    """
    name = f"grange_test_{uuid.uuid4().hex}"
    await _execute(dsn, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
    finally:
        await _execute(dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
