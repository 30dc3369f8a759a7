"""Begins and lifts death holds by the loop's clock: each one starts when the view with the death arrives."""

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
    """The clock of the slice's `Holds`. Lifting a hold fires `CurrentView.changed`, which wakes refused requests."""

    def __init__(self, holds: Holds, current: CurrentView, tasks: Tasks) -> None:
        self._holds = holds
        self._current = current
        self._tasks = tasks
        self._until: dict[SiloAddress, float] = {}
        self._known: set[SiloAddress] = set()

    def begin(self, silo: SiloAddress, seconds: float) -> None:
        """Hold the grains of this dead silo for `seconds` from now.

        Only the first call for a silo counts.
        """
        if seconds <= 0 or silo in self._known:
            return
        self._known.add(silo)
        self._until[silo] = asyncio.get_running_loop().time() + seconds
        self._holds.begin(silo)
        self._tasks.start(self._lift_in_time(silo))

    def adopt(self, holds: Iterable[Hold], in_doubt: RangeSet) -> None:
        """Add another owner's holds, which came with its entries.

        That owner may have seen deaths that this silo did not see.
        """
        adopted = list(holds)
        for hold in adopted:
            self.begin(hold.silo, hold.seconds)
        self._holds.mark_in_doubt(in_doubt, [hold.silo for hold in adopted])

    def lift(self, silo: SiloAddress) -> None:
        """End the hold of this silo, if there is one: its process is known to be gone."""
        if self._until.pop(silo, None) is not None:
            self._holds.lift(silo)
            self._current.changed.fire()

    @property
    def held(self) -> list[SiloAddress]:
        """The dead silos whose grains are held now."""
        return list(self._until)

    @property
    def remaining(self) -> tuple[Hold, ...]:
        """All holds with the seconds left, to be sent to another owner."""
        now = asyncio.get_running_loop().time()
        return tuple(Hold(silo.host, silo.port, silo.generation, until - now) for silo, until in self._until.items())

    @property
    def longest(self) -> float:
        """Seconds until the last hold ends."""
        return max((hold.seconds for hold in self.remaining), default=0.0)

    def seconds_of(self, silo: SiloAddress | None) -> float:
        """Seconds until the hold of this silo ends; None: until the last one ends."""
        return next((hold.seconds for hold in self.remaining if hold.silo == silo), self.longest)

    async def _lift_in_time(self, silo: SiloAddress) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._until[silo] - loop.time())
        self.lift(silo)
