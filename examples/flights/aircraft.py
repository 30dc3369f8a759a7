"""Aircraft: records each of its flights once, and tells everybody who counts it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from examples.flights.airport import Airport
from examples.flights.carrier import Carrier
from examples.flights.changes import Changes
from examples.flights.flight import Flight, NotTold
from examples.flights.repeating import may_be_repeated
from examples.flights.totals import Totals
from grange import Grain, PersistentState


@dataclass
class Logbook:
    """What one aircraft keeps: its totals, the ids of its flights, and the flight that others may not know of yet."""

    totals: Totals = field(default_factory=Totals)
    flights: set[str] = field(default_factory=set)
    reports: int = 0
    untold: Flight | None = None

    def enter(self, flight: Flight) -> None:
        """Count a new flight and give it the next report number."""
        self.totals.add(flight)
        self.flights.add(flight.id)
        self.reports += 1
        self.untold = flight


class Aircraft(Grain, name="flights.aircraft", errors=[NotTold]):
    """One aircraft; its key is the tail number, or `<carrier>-unknown` for flights that name none.

    A flight counts once everywhere, through crashes and repeats: (1) the aircraft stores the flight together with the
    note that it is untold; (2) it tells origin, destination and carrier, who store it and recognise a repeat by its
    report number; (3) only then does it answer, and take up the next flight. Whatever fails in between leaves the note,
    and the next call, in whatever activation, begins by telling again. Aircraft call airports and carriers, and
    those call nobody: no deadlock is possible.
    """

    def __init__(self, state: PersistentState[Logbook]) -> None:
        self._state = state
        self._changes = Changes(state)

    async def record(self, flight: Flight) -> bool:
        """Record a flight; True if it is new. Returns when all who count it have stored it.

        Safe to repeat after any error. Raises NotTold when somebody did not answer, and StorageError.
        """
        await self._tell()
        book = self._state.value
        if flight.id in book.flights:
            return False
        book.enter(flight)
        self._changes.made()
        await self._tell()
        return True

    async def totals(self) -> Totals:
        """The totals over all flights of this aircraft, as stored."""
        await self._changes.stored()
        return self._state.value.totals

    async def _tell(self) -> None:
        """Tell those who count the last flight, unless they have all said that they know. It is stored before."""
        await self._changes.stored()
        book = self._state.value
        flight, number = book.untold, book.reports
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
            raise NotTold(f"{flight.id}: {len(failed)} of 3 did not acknowledge: {failed[0]!r}") from failed[0]
        # Not stored now: the next flight's write takes it along. Until then a crash only repeats what is recognised.
        book.untold = None
