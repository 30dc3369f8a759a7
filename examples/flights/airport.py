"""Airport: counts the flights that depart from it and those that are bound for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from examples.flights.changes import Changes
from examples.flights.flight import Flight
from examples.flights.totals import Ledger, Totals
from grange import Grain, PersistentState


@dataclass
class AirportState:
    """The state of one airport. Departures and arrivals are separate: a flight may return to its origin."""

    departures: Ledger = field(default_factory=Ledger)
    arrivals: Ledger = field(default_factory=Ledger)


@dataclass
class AirportTotals:
    """The totals of one airport."""

    departures: Totals
    arrivals: Totals


class Airport(Grain, name="flights.airport", reentrant=True):
    """One airport; its key is the code. Reentrant, so that the flights of a busy airport share writes."""

    def __init__(self, state: PersistentState[AirportState]) -> None:
        self._state = state
        self._changes = Changes(state)

    async def note_departure(self, number: int, flight: Flight) -> None:
        """Count a flight from here: report `number` of its aircraft. Returns when it is stored; safe to repeat."""
        await self._enter(self._state.value.departures, number, flight)

    async def note_arrival(self, number: int, flight: Flight) -> None:
        """Count a flight bound for here: report `number` of its aircraft. Returns when it is stored; safe to repeat."""
        await self._enter(self._state.value.arrivals, number, flight)

    async def totals(self) -> AirportTotals:
        """The totals, as stored."""
        await self._changes.stored()
        return AirportTotals(self._state.value.departures.totals, self._state.value.arrivals.totals)

    async def _enter(self, ledger: Ledger, number: int, flight: Flight) -> None:
        if ledger.enter(number, flight):
            self._changes.made()
        await self._changes.stored()
