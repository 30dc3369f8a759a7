"""The parts that all accepted connections of one listener share."""

from __future__ import annotations

import msgspec

from grange.aio.tasks import Tasks
from grange.observability.counters import TrafficFigures
from grange.observability.spans import Spans
from grange.proto.faults import Faults
from grange.runtime.calls.admission import Admission
from grange.runtime.calls.backlog import Backlog
from grange.runtime.system_target import SystemTargets


class InboundDeps(msgspec.Struct, frozen=True, eq=False):
    """`inbound.py` makes it for its listener; `spans` is None without telemetry."""

    backlog: Backlog
    targets: SystemTargets
    faults: Faults
    tasks: Tasks
    admission: Admission
    traffic: TrafficFigures
    spans: Spans | None = None
