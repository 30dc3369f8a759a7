"""When holds begin and end: loop time, from the moment that the view with the death arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from grange.aio.tasks import Tasks
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.holds import Holds
from grange.directory.slice.messages import Hold
from grange.directory.slice.ranges import RangeSet
from grange.proto.ids import SiloAddress


class HoldTimers:
    """The clock beside the slice's `Holds`. Whoever waits for a hold is woken when it is lifted."""

    def __init__(self, holds: Holds, current: CurrentView, tasks: Tasks) -> None:
        self._holds = holds
        self._current = current
        self._tasks = tasks
        self._until: dict[SiloAddress, float] = {}
        self._known: set[SiloAddress] = set()

    def begin(self, silo: SiloAddress, seconds: float) -> None:
        """Hold the grains of this silo for so long, from now on: its death has just been seen. Only the first time
        counts.
        """
        if seconds <= 0 or silo in self._known:
            return
        self._known.add(silo)
        self._until[silo] = asyncio.get_running_loop().time() + seconds
        self._holds.begin(silo)
        self._tasks.start(self._lift_in_time(silo))

    def carried(self, holds: Iterable[Hold], doubtful: RangeSet) -> None:
        """Another owner's holds, which came with its entries. Needed for deaths that it saw and we did not."""
        found = list(holds)
        for hold in found:
            self.begin(hold.silo, hold.seconds)
        self._holds.doubt(doubtful, [hold.silo for hold in found])

    def lift(self, silo: SiloAddress) -> None:
        """It is known to be gone."""
        if self._until.pop(silo, None) is not None:
            self._holds.lift(silo)
            self._current.changed.fire()

    @property
    def held(self) -> list[SiloAddress]:
        """The dead silos that are held for."""
        return list(self._until)

    @property
    def remaining(self) -> tuple[Hold, ...]:
        """What is held, for another owner."""
        now = asyncio.get_running_loop().time()
        return tuple(Hold(silo.host, silo.port, silo.generation, until - now) for silo, until in self._until.items())

    @property
    def longest(self) -> float:
        """Seconds until the last hold ends."""
        return max((hold.seconds for hold in self.remaining), default=0.0)

    async def _lift_in_time(self, silo: SiloAddress) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._until[silo] - loop.time())
        self.lift(silo)
