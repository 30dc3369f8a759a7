"""The nightly summaries of an airport. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from examples.flights.totals import Totals

KEPT = 7
"""Summaries that an airport keeps."""


@dataclass(frozen=True)
class Summary:
    """What an airport has counted since the summary before. `night` is the date at its midnight, as 2013-01-31."""

    night: str
    departures: int
    arrivals: int
    minutes_late: int


@dataclass
class Nights:
    """The newest summaries, and what all of them have counted. `tick`: the id of the last one's tick."""

    summaries: list[Summary] = field(default_factory=list)
    departures: int = 0
    arrivals: int = 0
    minutes_late: int = 0
    tick: str = ""

    def add(self, tick: str, night: str, departures: Totals, arrivals: Totals) -> bool:
        """Add the summary of a tick; False if this tick came before, as after the death of a silo."""
        if tick == self.tick:
            return False
        late = departures.arrival.total + arrivals.arrival.total
        new = Summary(
            night, departures.flights - self.departures, arrivals.flights - self.arrivals, late - self.minutes_late
        )
        self.summaries = [*self.summaries, new][-KEPT:]
        self.departures, self.arrivals, self.minutes_late = departures.flights, arrivals.flights, late
        self.tick = tick
        return True
