"""Answers about the traces that this silo keeps, for clients, the command line and the dashboard.

`proto/journal.py` has the messages.
"""

from __future__ import annotations

import re

import msgspec

from grange.observability.kept_traces import KeptTraces
from grange.observability.spans import Spans
from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.journal import TRACE, TRACES, After, Traces
from grange.runtime.system_target import SystemTargets

MAX_LISTED = 500
"""Most traces of one answer."""

_TRACE_ID = re.compile("[0-9a-f]{32}", re.ASCII)
_encode = msgspec.msgpack.Encoder().encode


class TraceAnswers:
    """The answers of one silo about its traces. Without telemetry it keeps none."""

    def __init__(self, address: SiloAddress, spans: Spans | None, kept: KeptTraces | None) -> None:
        self._address = address
        self._spans = spans
        self._kept = kept

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve(TRACES, self._answer_traces, Level.VIEWER)
        targets.serve(TRACE, self._answer_trace, Level.VIEWER)

    def traces(self, question: After) -> Traces:
        """The newest traces, those numbered after `question.number`."""
        if self._spans is None or self._kept is None:
            return Traces(self._address)
        roots = self._kept.roots(question.number, min(question.limit, MAX_LISTED))
        return Traces(self._address, roots=tuple(roots), sampling=self._spans.sample, on=True)

    def trace(self, number: str) -> Traces:
        """The spans of one trace in this silo; none if it is not kept, or `number` is no trace id."""
        if self._spans is None or self._kept is None:
            return Traces(self._address)
        spans = self._kept.spans(int(number, 16)) if _TRACE_ID.fullmatch(number) else []
        return Traces(self._address, spans=tuple(spans), sampling=self._spans.sample, on=True)

    async def _answer_traces(self, question: bytes) -> bytes:
        return _encode(self.traces(msgspec.msgpack.decode(question, type=After)))

    async def _answer_trace(self, question: bytes) -> bytes:
        return _encode(self.trace(msgspec.msgpack.decode(question, type=str)))
