"""Probes the silos that this one watches, each in a task of its own, and reports the ones that stop answering."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection

from grange.membership.detector import Detector, Verdict
from grange.membership.options import MembershipOptions
from grange.proto.ids import SiloAddress
from grange.runtime.tasks import Tasks

Probe = Callable[[SiloAddress], Awaitable[bool]]
"""Probes a silo once; returns whether it answered in time, and never raises."""

Suspect = Callable[[SiloAddress], Awaitable[None]]
"""Called when a silo has missed too many probes in a row, and after each further miss; never raises."""


class Prober:
    """Whom to watch is told by `agent.py` with each view; the verdicts are `detector.py`'s."""

    def __init__(self, probe: Probe, suspect: Suspect, options: MembershipOptions, chance: random.Random) -> None:
        self._probe = probe
        self._suspect = suspect
        self._interval = options.probe_interval
        self._chance = chance
        self._detector = Detector(options.missed_limit)
        self._watched: dict[SiloAddress, asyncio.Task[None]] = {}
        self._tasks = Tasks()

    @property
    def watched(self) -> frozenset[SiloAddress]:
        """The silos probed now."""
        return frozenset(self._watched)

    def watch(self, silos: Collection[SiloAddress]) -> None:
        """Probe exactly these from now on; the count of misses of those watched before goes on."""
        for silo in [silo for silo in self._watched if silo not in silos]:
            self._watched.pop(silo).cancel()
        self._detector.keep(silos)
        for silo in silos:
            if silo not in self._watched:
                self._watched[silo] = self._tasks.start(self._watch(silo))

    async def close(self) -> None:
        """Stop probing, and wait until every probe has ended."""
        self._watched.clear()
        await self._tasks.close()

    async def _watch(self, silo: SiloAddress) -> None:
        # From a random moment on, so that the probes of many silos do not come in bursts.
        await asyncio.sleep(self._chance.uniform(0, self._interval))
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            if await self._probe(silo):
                self._detector.answered(silo)
            elif self._detector.missed(silo) is Verdict.SUSPECT:
                await self._suspect(silo)
            await asyncio.sleep(max(0.0, began + self._interval - loop.time()))
