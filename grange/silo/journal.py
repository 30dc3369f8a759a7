"""The system targets that answer what happened in this silo: its events. `proto/journal.py` has the messages."""

from __future__ import annotations

import msgspec

from grange.observability.events import Events
from grange.proto import journal
from grange.proto.ids import SiloAddress
from grange.proto.journal import MAX_ROWS, After
from grange.proto.management import encode
from grange.runtime.system_target import SystemTargets


class Journal:
    """The answers of one silo, from its rings."""

    def __init__(self, address: SiloAddress, events: Events) -> None:
        self._address = address
        self._events = events

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve(journal.EVENTS, self._answer_events)

    def events(self, question: After) -> journal.Events:
        """The events after a number."""
        rows, lost = self._events.after(question.number, min(question.limit, MAX_ROWS))
        return journal.Events(self._address, tuple(rows), self._events.last, lost, dict(self._events.counts))

    async def _answer_events(self, question: bytes) -> bytes:
        return encode(self.events(msgspec.msgpack.decode(question, type=After)))
