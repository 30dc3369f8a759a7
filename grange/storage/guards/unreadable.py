"""The rows of one store that this silo could not read into their types, listed for operators."""

from __future__ import annotations

import re

import msgspec

from grange.errors import StateUnreadable
from grange.observability.catalogue import StateUnreadable as StateUnreadableEvent
from grange.observability.counters import StoreFigures
from grange.observability.events import Events
from grange.proto.ids import GrainId

MOST = 100
"""Rows that are listed for one store; the oldest are forgotten first."""

_PLACE = re.compile(r"at `(\$[^`]*)`")


class UnreadableRow(msgspec.Struct, frozen=True):
    """One such row: the version of the type that stored it, and the version of this silo's type."""

    grain_id: GrainId
    state: str
    stored: int
    known: int
    place: str


class UnreadableRows:
    """Tells of each such row by an event and a figure, and lists them until they can be read."""

    def __init__(self, store: str, figures: StoreFigures, events: Events) -> None:
        self._store = store
        self._figures = figures
        self._events = events
        self._rows: dict[tuple[GrainId, str], UnreadableRow] = {}

    @property
    def rows(self) -> list[UnreadableRow]:
        """The rows, the oldest first."""
        return list(self._rows.values())

    def add(self, grain_id: GrainId, state: str, error: StateUnreadable) -> None:
        """This row was read and does not fit its type."""
        self._figures.error(error)
        found = _PLACE.search(str(error))  # the rest of the text may show a part of the state
        row = UnreadableRow(grain_id, state, error.stored, error.known, found[1] if found else "$")
        self._rows.pop((grain_id, state), None)
        self._rows[grain_id, state] = row
        if len(self._rows) > MOST:
            del self._rows[next(iter(self._rows))]
        self._events.publish(
            StateUnreadableEvent(self._store, grain_id.type, str(grain_id), state, row.stored, row.known, row.place)
        )

    def discard(self, grain_id: GrainId, state: str) -> None:
        """This row was read or replaced."""
        if self._rows:
            self._rows.pop((grain_id, state), None)
