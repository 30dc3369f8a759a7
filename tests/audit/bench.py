"""A trail for tests, with a wall clock that stands still."""

from __future__ import annotations

from datetime import UTC, datetime

from grange.audit.trail import AuditTrail
from grange.audit.writer import TableWriter
from grange.observability.events import Events
from grange.proto.ids import SiloAddress

NOW = 1_000_000.0


def trail_of(writer: TableWriter | None = None, required: bool = False) -> AuditTrail:
    """A trail of a silo."""
    address = SiloAddress("127.0.0.1", 11111, 1)
    return AuditTrail(address, lambda: datetime.fromtimestamp(NOW, UTC), Events(), writer, required)
