"""The table of the audit in memory, for tests. It is lost with its process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from grange.audit.provider import MOST_ROWS, AuditFilter, AuditTable, KeptRow, Origin, fits
from grange.audit.urls import open_audit
from grange.databases.errors import DatabaseUnavailable
from grange.databases.urls import scheme_of
from grange.proto.acts import AuditRow


class MemoryRows:
    """The rows of all silos, the oldest first. `down`: the table refuses every operation, as a database may."""

    def __init__(self) -> None:
        self.rows: list[KeptRow] = []
        self.down = False


class MemoryAuditTable:
    """See AuditTable. Several silos of one process may share `rows`."""

    def __init__(self, origin: Origin, rows: MemoryRows | None = None) -> None:
        self.kept = rows or MemoryRows()
        self._origin = origin

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, origin: Origin) -> AsyncGenerator[MemoryAuditTable]:
        """An empty table. See AuditTableFactory."""
        yield cls(origin)

    async def append(self, rows: Sequence[AuditRow]) -> None:
        """See AuditTable."""
        self._check()
        known = {(each.silo, each.row.number) for each in self.kept.rows}
        for row in rows:
            if (self._origin.silo, row.number) not in known:
                self.kept.rows.append(KeptRow(len(self.kept.rows) + 1, self._origin.silo, row))

    async def read(self, wanted: AuditFilter) -> list[KeptRow]:
        """See AuditTable."""
        self._check()
        fitting = [each for each in reversed(self.kept.rows) if fits(each.row, wanted)]
        fitting = [each for each in fitting if not wanted.before or each.id < wanted.before]
        return fitting[: max(0, min(wanted.limit, MOST_ROWS))]

    def _check(self) -> None:
        if self.kept.down:
            raise DatabaseUnavailable("the table in memory is down")


@asynccontextmanager
async def table_of_test(url: str, rows: MemoryRows, origin: Origin) -> AsyncGenerator[AuditTable | None]:
    """The table of a silo of a test: that of the URL, or for `memory://` one with these rows. None: no URL."""
    if scheme_of(url) == "memory" or not url:
        yield MemoryAuditTable(origin, rows) if url else None
        return
    async with open_audit(url, origin) as table:
        yield table
