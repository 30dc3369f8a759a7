"""Carrier: counts the flights of one airline."""

from __future__ import annotations

from examples.flights.changes import Changes
from examples.flights.flight import Flight
from examples.flights.totals import Ledger, Totals
from grange import Grain, PersistentState


class Carrier(Grain, name="flights.carrier", reentrant=True):
    """One airline; its key is the code. Reentrant, so that its flights share writes."""

    def __init__(self, state: PersistentState[Ledger]) -> None:
        self._state = state
        self._changes = Changes(state)

    async def note_flight(self, number: int, flight: Flight) -> None:
        """Count a flight: report `number` of its aircraft. Returns when it is stored; safe to repeat."""
        if self._state.value.enter(number, flight):
            self._changes.made()
        await self._changes.stored()

    async def totals(self) -> Totals:
        """The totals, as stored."""
        await self._changes.stored()
        return self._state.value.totals
