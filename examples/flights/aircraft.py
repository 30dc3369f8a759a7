"""Aircraft: records each of its flights once, and reports it to the grains that count it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from examples.flights.airport import Airport
from examples.flights.carrier import Carrier
from examples.flights.changes import Changes
from examples.flights.flight import Flight, NotAcknowledged
from examples.flights.repeating import may_be_repeated
from examples.flights.totals import Totals
from grange import Grain, PersistentState


@dataclass
class Logbook:
    """The state of one aircraft: its totals, the ids of its flights, and a flight that is not fully reported yet."""

    totals: Totals = field(default_factory=Totals)
    flights: set[str] = field(default_factory=set)
    reports: int = 0
    unreported: Flight | None = None

    def enter(self, flight: Flight) -> None:
        """Count a new flight and give it the next report number."""
        self.totals.add(flight)
        self.flights.add(flight.id)
        self.reports += 1
        self.unreported = flight


class Aircraft(Grain, name="flights.aircraft", errors=[NotAcknowledged]):
    """One aircraft; its key is the tail number, or `<carrier>-unknown` for flights without one.

    A flight counts once everywhere, through crashes and repeats: (1) the aircraft stores the flight and marks it as
    unreported; (2) it reports the flight to origin, destination and carrier, which store it and recognise a repeat by
    its report number; (3) only then it answers, and takes the next flight. After a failure the mark remains, and the
    next call, in any activation, begins by reporting again. Aircraft call airports and carriers, and these call no
    grain, so no deadlock is possible.
    """

    def __init__(self, state: PersistentState[Logbook]) -> None:
        self._state = state
        self._changes = Changes(state)

    async def record(self, flight: Flight) -> bool:
        """Record a flight; True if it is new. Returns when all grains that count it have stored it.

        Safe to repeat after any error. Raises NotAcknowledged when a grain did not answer, and StorageError.
        """
        await self._report()
        book = self._state.value
        if flight.id in book.flights:
            return False
        book.enter(flight)
        self._changes.made()
        await self._report()
        return True

    async def totals(self) -> Totals:
        """The totals over all flights of this aircraft, as stored."""
        await self._changes.stored()
        return self._state.value.totals

    async def _report(self) -> None:
        """Store the last flight, then report it to the grains that count it, unless all have acknowledged it."""
        await self._changes.stored()
        book = self._state.value
        flight, number = book.unreported, book.reports
        if flight is None:
            return
        answers = await asyncio.gather(
            self.get_grain(Airport, flight.origin).note_departure(number, flight),
            self.get_grain(Airport, flight.destination).note_arrival(number, flight),
            self.get_grain(Carrier, flight.carrier).note_flight(number, flight),
            return_exceptions=True,
        )
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        for error in failed:
            if not may_be_repeated(error):
                raise error
        if failed:
            raise NotAcknowledged(f"{flight.id}: {len(failed)} of 3 did not acknowledge: {failed[0]!r}") from failed[0]
        # Not stored now: the next flight's write includes it. Until then a crash causes a repeat, which is recognised.
        book.unreported = None
