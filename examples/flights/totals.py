"""The totals that every grain of this example keeps, and the recognition of flights that were counted. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from examples.flights.flight import Flight

LIMITS = (0, 15, 30, 60, 120, 240)
"""Upper ends (minutes, inclusive) of the histogram's classes: on time, up to a quarter of an hour, …"""


@dataclass
class Delays:
    """All delays of one kind, in minutes: number, sum, longest, and a histogram over `LIMITS`."""

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
    """Totals over flights that aircraft report. Each flight counts once, even if it is reported several times.

    An aircraft numbers its reports upwards, and sends the next report only when all grains have acknowledged the last.
    So one number per aircraft is enough to recognise even a late repeat.
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
