"""What every grain of this example keeps: totals, and what is needed to recognise a flight that was counted. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from examples.flights.flight import Flight

LIMITS = (0, 15, 30, 60, 120, 240)
"""Upper ends (minutes, inclusive) of the histogram's classes: on time, up to a quarter of an hour, …"""


@dataclass
class Delays:
    """All delays of one kind, in minutes: how many, their sum, the longest and a histogram over `LIMITS`."""

    count: int = 0
    total: int = 0
    longest: int | None = None
    histogram: list[int] = field(default_factory=lambda: [0] * (len(LIMITS) + 1))

    def add(self, minutes: int) -> None:
        """Count one delay."""
        self.count += 1
        self.total += minutes
        self.longest = minutes if self.longest is None else max(self.longest, minutes)
        self.histogram[bisect_left(LIMITS, minutes)] += 1


@dataclass
class Totals:
    """Totals over a number of flights."""

    flights: int = 0
    cancelled: int = 0
    departure: Delays = field(default_factory=Delays)
    arrival: Delays = field(default_factory=Delays)

    def add(self, flight: Flight) -> None:
        """Count one flight."""
        self.flights += 1
        self.cancelled += flight.cancelled
        if flight.departure_delay is not None:
            self.departure.add(flight.departure_delay)
        if flight.arrival_delay is not None:
            self.arrival.add(flight.arrival_delay)


@dataclass
class Ledger:
    """Totals over flights that aircraft report, each of which counts once however often it is reported.

    An aircraft numbers its reports upwards and makes the next only when all have acknowledged the last. So one number
    per aircraft is enough to recognise a repeat, however late it comes.
    """

    totals: Totals = field(default_factory=Totals)
    last: dict[str, int] = field(default_factory=dict)

    def enter(self, number: int, flight: Flight) -> bool:
        """Count a reported flight; False if this report was counted before."""
        if number <= self.last.get(flight.aircraft, 0):
            return False
        self.last[flight.aircraft] = number
        self.totals.add(flight)
        return True
