"""One departure, as it travels from the feeder to the grains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flight:
    """One scheduled departure.

    `id` identifies it: date, carrier, flight number and origin. `aircraft` is the key of its aircraft. Delays are
    in minutes (below 0: early) and None without such a time: a cancelled flight has neither, a diverted flight no
    arrival.
    """

    id: str
    aircraft: str
    carrier: str
    origin: str
    destination: str
    cancelled: bool
    departure_delay: int | None
    arrival_delay: int | None


class NotAcknowledged(Exception):
    """The aircraft has stored the flight, but not all grains that count it have acknowledged it. Record it again."""
