"""Airport: counts the flights that depart from it and those bound for it, and gets a summary each night."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from examples.flights.changes import Changes
from examples.flights.flight import Flight
from examples.flights.summary import Nights, Summary
from examples.flights.totals import Ledger, Totals
from examples.flights.zones import zone_of
from grange import Cron, Grain, Indexed, PersistentState, Tick

SUMMARY = "nightly summary"
"""The name of the reminder."""


@dataclass
class AirportState:
    """The state of one airport. Departures and arrivals are separate: a flight may return to its origin.

    `minutes_late` are those of all these flights at their destinations. It is indexed, so the airports can be asked for
    in its order (`reader.worst_airports`).
    """

    departures: Ledger = field(default_factory=Ledger)
    arrivals: Ledger = field(default_factory=Ledger)
    nights: Nights = field(default_factory=Nights)
    minutes_late: Annotated[int, Indexed()] = 0


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

    async def on_activate(self) -> None:
        """Set the reminder once. It outlives this activation, its silo, and the cluster."""
        if await self.reminders.get(SUMMARY) is None:
            await self.reminders.set(SUMMARY, cron=Cron("0 0 * * *", zone_of(self.key)))

    async def on_reminder(self, tick: Tick) -> None:
        """It is midnight here. The same tick may come twice, and counts once."""
        state, night = self._state.value, tick.scheduled.astimezone(ZoneInfo(zone_of(self.key)))
        if state.nights.add(tick.id, f"{night:%Y-%m-%d}", state.departures.totals, state.arrivals.totals):
            self._changes.made()
        await self._changes.stored()

    async def summaries(self) -> list[Summary]:
        """The newest summaries, as stored."""
        await self._changes.stored()
        return self._state.value.nights.summaries

    async def next_summary(self) -> datetime | None:
        """When the next summary is due, in UTC."""
        reminder = await self.reminders.get(SUMMARY)
        return None if reminder is None else reminder.due

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
            self._state.value.minutes_late += flight.arrival_delay or 0
            self._changes.made()
        await self._changes.stored()
