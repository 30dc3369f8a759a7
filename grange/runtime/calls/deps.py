"""The parts that all accepted connections of one listener share."""

from __future__ import annotations

from typing import Protocol

import msgspec

from grange.aio.tasks import Tasks
from grange.observability.counters import TrafficFigures
from grange.observability.spans import Spans
from grange.proto.faults import Faults
from grange.runtime.calls.admission import Admission
from grange.runtime.calls.backlog import Backlog
from grange.runtime.calls.link import Link
from grange.runtime.system_target import SystemTargets
from grange.transport.provider import Connection


class AcceptsClients(Protocol):
    """Sends requests to the clients that connect: `runtime/observers/routes.py` implements it."""

    def accept(self, connection: Connection) -> Link | None:
        """The link for requests to the peer of a new connection; None: it takes none."""
        ...


class InboundDeps(msgspec.Struct, frozen=True, eq=False):
    """`inbound.py` makes it for its listener; `spans` is None without telemetry, `clients` on the port for silos."""

    backlog: Backlog
    targets: SystemTargets
    faults: Faults
    tasks: Tasks
    admission: Admission
    traffic: TrafficFigures
    spans: Spans | None = None
    clients: AcceptsClients | None = None
