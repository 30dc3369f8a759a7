"""Deaths on their way into one store, and the reads that wait for them.

A silo that was declared dead may still run: paused, or cut off. So each silo notes every death that its membership
view shows in each of its stores, which then refuse what the dead one writes (`GrainStorage.fence`), and until that is
done it loads no state: what it loads can no longer be changed by a silo that it knows to be dead.
"""

from __future__ import annotations

import asyncio
import logging
import random

from grange.aio.throttled_log import ThrottledLog
from grange.membership.model.member import View
from grange.proto.ids import SiloAddress
from grange.storage.guards.deaths import deaths
from grange.storage.provider import GrainStorage

log = logging.getLogger("grange.storage")

RETRY = 1.0
"""Most seconds between two tries to note a death; the least is half of it, so that silos do not try in step."""


class Fence:
    """The deaths that one silo has noted, or has still to note, in one store. `run` is its task."""

    def __init__(self, storage: GrainStorage, name: str, me: SiloAddress, rng: random.Random) -> None:
        self._storage = storage
        self._name = name
        self._me = me
        self._rng = rng
        self._known: dict[str, SiloAddress] = {}
        self._pending: dict[str, SiloAddress] = {}
        self._due = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()
        self._warnings = ThrottledLog(log)
        self.rounds = 0
        """Rises with each death: a read that began before it may have seen what the dead could still change."""

    def on_view(self, view: View) -> None:
        """Take up what this view tells. From here on reads wait, until it is noted."""
        self._add([silo for silo in deaths(view, self._me) if self._is_news(silo)])

    def note_again(self) -> None:
        """Note all known deaths once more: the store was away, and may have come back as an older copy of itself."""
        self._add(list(self._known.values()))

    @property
    def is_passed(self) -> bool:
        """Whether every known death is noted."""
        return not self._pending

    async def passed(self) -> None:
        """Wait until every known death is noted. Bounded by the caller."""
        while self._pending:
            await self._done.wait()

    async def run(self) -> None:
        """Note deaths as they come, for ever; while the store is away, again and again."""
        while True:
            await self._due.wait()
            pending = sorted(self._pending.values())
            try:
                await self._storage.fence(pending)
            except Exception as error:
                self._complain(pending, error)
                await asyncio.sleep(RETRY * self._rng.uniform(0.5, 1.0))
            else:
                self._noted(pending)

    def _is_news(self, silo: SiloAddress) -> bool:
        known = self._known.get(silo.endpoint)
        return known is None or known.generation < silo.generation

    def _add(self, silos: list[SiloAddress]) -> None:
        if not silos:
            return
        for silo in silos:
            self._known[silo.endpoint] = self._pending[silo.endpoint] = silo
        self.rounds += 1
        self._due.set()
        self._done.clear()

    def _noted(self, silos: list[SiloAddress]) -> None:
        for silo in silos:
            if self._pending.get(silo.endpoint) == silo:  # or a later one of its endpoint has died meanwhile
                del self._pending[silo.endpoint]
        if not self._pending:
            self._due.clear()
            self._done.set()

    def _complain(self, silos: list[SiloAddress], error: Exception) -> None:
        shown = ", ".join(map(str, silos[:3])) + (", …" if len(silos) > 3 else "")
        text = f"storage {self._name!r} could not note that silos are dead ({shown}); grains with state wait for it"
        self._warnings.warning(text, error, "deaths_not_recorded")
