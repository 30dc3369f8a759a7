"""The table of the audit in Postgres. Its role may lack the rights to change and to remove rows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from grange.audit.columns import COLUMNS, INSERT, READ, kept, values_of
from grange.audit.provider import MOST_ROWS, OPERATION_TIMEOUT, AuditFilter, KeptRow, Origin
from grange.databases.postgres import PostgresLink
from grange.proto.acts import AuditRow

_INSERT = INSERT.format(", ".join(f"${place}" for place, _ in enumerate(COLUMNS, 1)))
_READ = f"""{READ}
WHERE cluster = $1 AND ($2::bigint = 0 OR id < $2) AND time >= $3 AND ($4 = '' OR kind = $4)
  AND ($5 = '' OR position($5 IN actor) > 0 OR position($5 IN via) > 0)
  AND ($6 = '' OR position($6 IN action) > 0 OR position($6 IN target) > 0)
ORDER BY id DESC LIMIT $7
"""


class PostgresAuditTable:
    """See AuditTable."""

    def __init__(self, link: PostgresLink, origin: Origin) -> None:
        self._link = link
        self._origin = origin

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, origin: Origin) -> AsyncGenerator[PostgresAuditTable]:
        """`postgresql://user[:password]@host[:port]/database`. See AuditTableFactory."""
        async with PostgresLink.open(url, 1, OPERATION_TIMEOUT, OPERATION_TIMEOUT) as link:
            await link.migrate("audit")
            yield cls(link, origin)

    async def append(self, rows: Sequence[AuditRow]) -> None:
        """See AuditTable. The driver sends the batch as one transaction."""
        async with self._link.connection(OPERATION_TIMEOUT) as connection:
            await connection.executemany(_INSERT, [values_of(self._origin, row) for row in rows])

    async def read(self, wanted: AuditFilter) -> list[KeptRow]:
        """See AuditTable."""
        limit = max(0, min(wanted.limit, MOST_ROWS))
        async with self._link.connection(OPERATION_TIMEOUT) as connection:
            found = await connection.fetch(
                _READ, self._origin.cluster, wanted.before, wanted.since, wanted.kind, wanted.who, wanted.what, limit
            )
        return [kept(tuple(row)) for row in found]
