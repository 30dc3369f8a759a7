"""The Postgres that the state figure writes to: one server for the run, an empty database per session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from benchmarks.catalog import Setting
from benchmarks.plan import Session
from grange.servers.postgres import postgres_server
from grange.testing.postgres import fresh_database


@contextmanager
def server_for(plan: Sequence[Session]) -> Iterator[str | None]:
    """Return the address of a server, or None when no session of the plan writes state."""
    if not any(session.setting is Setting.STATE for session in plan):
        yield None
        return
    with postgres_server() as address:
        yield address


@asynccontextmanager
async def database_for(session: Session, server: str | None) -> AsyncIterator[list[str]]:
    """Return the arguments that give a session its database: none for a session that writes no state."""
    if session.setting is not Setting.STATE or server is None:
        yield []
        return
    async with fresh_database(server) as address:
        yield ["--storage", address]
