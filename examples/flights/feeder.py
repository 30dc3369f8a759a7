"""Feeder: gives every flight to its aircraft, many at a time, and repeats calls that may not have succeeded."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from examples.flights.aircraft import Aircraft
from examples.flights.flight import Flight
from examples.flights.repeating import may_be_repeated
from grange import Key
from grange.grains.definition import Addressable

G = TypeVar("G", bound=Addressable)

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
"""Seconds between two tries of one flight; the pause doubles, with jitter."""


class GrainFactory(Protocol):
    """A `Client`, a `Silo` or a `TestCluster`."""

    def get_grain(self, grain: type[G], key: Key) -> G:
        """A reference."""
        ...


Recorded = Callable[[Flight, float], None]
"""Callback for each acknowledged flight, with the time (loop time) at which the acknowledged call began."""


class Feeder:
    """Feeds flights once, with at most `in_flight` calls at a time.

    `recorded` counts acknowledged flights; `repeats` counts repeated calls by the name of the error that caused them.
    """

    def __init__(
        self,
        grains: GrainFactory,
        in_flight: int,
        rng: random.Random,
        on_recorded: Recorded = lambda flight, began: None,
    ) -> None:
        self._grains = grains
        self._in_flight = in_flight
        self._random = rng
        self._on_recorded = on_recorded
        self._feeding = asyncio.Event()
        self._feeding.set()
        self.recorded = 0
        self.repeats: Counter[str] = Counter()

    async def feed(self, flights: Iterable[Flight]) -> None:
        """Return when every flight is acknowledged. Raises errors that no repetition can correct."""
        waiting = iter(flights)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._in_flight):
                group.create_task(self._work(waiting))

    def pause(self) -> None:
        """Begin no further flight until `resume`; calls in flight go on."""
        self._feeding.clear()

    def resume(self) -> None:
        """Begin flights again."""
        self._feeding.set()

    async def _work(self, waiting: Iterator[Flight]) -> None:
        while True:
            await self._feeding.wait()
            flight = next(waiting, None)
            if flight is None:
                return
            await self._record(flight)

    async def _record(self, flight: Flight) -> None:
        aircraft, pause = self._grains.get_grain(Aircraft, flight.aircraft), FIRST_PAUSE
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await aircraft.record(flight)
            except Exception as error:
                if not may_be_repeated(error):
                    raise
                self.repeats[type(error).__name__] += 1
            else:
                self.recorded += 1
                self._on_recorded(flight, began)
                return
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE, pause * 2)
