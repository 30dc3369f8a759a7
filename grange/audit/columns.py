"""The columns of the table `grange_audit`, and its statements that SQLite and Postgres share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grange.audit.provider import KeptRow, Origin
from grange.proto.acts import AuditRow, Level

COLUMNS = (
    *("cluster", "silo", "number", "time", "kind", "actor", "via", "level", "action", "target", "reason", "outcome"),
    *("text", "trace", "begun"),
)
"""The columns that a silo writes, in the order of `values_of`. The database numbers the rows in `id`."""

INSERT = f"INSERT INTO grange_audit ({', '.join(COLUMNS)}) VALUES ({{}}) ON CONFLICT DO NOTHING"  # noqa: S608 constants
READ = f"SELECT id, {', '.join(COLUMNS[1:])} FROM grange_audit"  # noqa: S608 constants
"""The rows, for `kept`."""


def values_of(origin: Origin, row: AuditRow) -> tuple[Any, ...]:
    """The values of a row, in the order of the columns."""
    return (
        origin.cluster, origin.silo, row.number, row.time, row.kind, row.actor, row.via, row.level.name.lower(),
        row.action, row.target, row.reason, row.outcome, row.text, row.trace, row.begun,
    )  # fmt: skip


def kept(found: Sequence[Any]) -> KeptRow:
    """The row of a result of `READ`."""
    number, silo, own, time, kind, actor, via, level, action, target, reason, outcome, text, trace, begun = found
    row = AuditRow(
        own, time, actor, Level[level.upper()], action, target, reason, outcome, text, kind, via, trace, begun
    )
    return KeptRow(number, silo, row)
