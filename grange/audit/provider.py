"""The contract of the table of the audit: rows are added, and read; none is changed or removed.

A provider joins by an entry point of the group `grange.audit`: its name is the URL's scheme, its object a class that
fulfils `AuditTableFactory`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from grange.proto.acts import AuditRow

OPERATION_TIMEOUT = 5.0
"""Seconds that one operation may take, connecting included."""

MOST_ROWS = 1000
"""Most rows that one question to the table returns."""


class Origin(msgspec.Struct, frozen=True):
    """The silo whose rows are added: its cluster, and its address with the generation. Rows are numbered within it."""

    cluster: str
    silo: str


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a cluster are read, the newest first.

    `who` is a part of the actor or of `via`; `what` a part of the action or target; `kind` one of `KINDS`. `since` is
    in seconds since 1970. `before`: only rows whose id is lower, for the next page; 0: the newest.
    """

    who: str = ""
    what: str = ""
    kind: str = ""
    since: float = 0.0
    before: int = 0
    limit: int = 100


def fits(row: AuditRow, wanted: AuditFilter) -> bool:
    """Whether a row fits, as a table decides it, apart from `before`."""
    return (
        row.time >= wanted.since
        and wanted.kind in ("", row.kind)
        and (wanted.who in row.actor or wanted.who in row.via)
        and (wanted.what in row.action or wanted.what in row.target)
    )


class KeptRow(msgspec.Struct, frozen=True):
    """A row of the table. `id` rises in the order in which rows were added, by all silos."""

    id: int
    silo: str
    row: AuditRow


class AuditTable(Protocol):
    """The table. Its errors are `DatabaseError`."""

    async def append(self, rows: Sequence[AuditRow]) -> None:
        """Add rows, all or none. Rows with the origin and number of one that is there are left out: a repetition after
        a lost reply adds nothing."""
        ...

    async def read(self, wanted: AuditFilter) -> list[KeptRow]:
        """The rows of the cluster that fit, the newest first."""
        ...


class AuditTableFactory(Protocol):
    """Opens the table of one kind of database."""

    def open(self, url: str, origin: Origin) -> AbstractAsyncContextManager[AuditTable]:
        """Open the table at a URL, its schema up to date, and close it at exit.

        Raises ConfigurationError for a wrong URL or a missing right, and DatabaseError.
        """
        ...
