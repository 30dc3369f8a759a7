"""One departure, as it travels from the feeder to the grains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flight:
    """One scheduled departure.

    `id` names it for ever: date, carrier, flight number and origin. `aircraft` is the key of its aircraft. Delays are
    in minutes (below 0: early) and None when there is no such time: a cancelled flight has neither, a diverted one no
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


class NotTold(Exception):
    """The flight is stored by its aircraft, but not everybody who must count it has said so. Record it again."""
