"""Records dead silos in one store, and makes reads wait until they are recorded.

A silo that was declared dead may still run, paused or cut off. So each silo records every death of its membership view
in each of its stores. The stores then refuse the writes of the dead silo (`GrainStorage.fence`). Before that is done,
the silo loads no state: afterwards no silo that it knows to be dead can change the state that it loads.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from grange.aio.backoff import Backoff
from grange.membership.model.member import View
from grange.observability.catalogue import DeathsNotRecorded
from grange.observability.events import Events
from grange.proto.ids import SiloAddress
from grange.storage.guards.deaths import deaths
from grange.storage.provider import GrainStorage

RETRY_FIRST, RETRY_LIMIT = 0.05, 1.0
"""Seconds between two tries to record deaths. They grow, because a store that is away may be away for long; the loads
of the dead silo's grains wait for the first try that succeeds."""

MAX_LOGGED = 3
"""Most dead silos that a log line names."""


class DeathRecorder:
    """The deaths that one silo has recorded, or has still to record, in one store. `run` is its task."""

    def __init__(
        self,
        storage: GrainStorage,
        name: str,
        me: SiloAddress,
        rng: random.Random,
        writer: Callable[[SiloAddress], SiloAddress],
        events: Events,
    ) -> None:
        """`writer` names a silo in the store: see `SiloEnvironment.writer`."""
        self._storage = storage
        self._writer = writer
        self._name = name
        self._me = me
        self._rng = rng
        self._known: dict[str, SiloAddress] = {}
        self._pending: dict[str, SiloAddress] = {}
        self._due = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()
        self._events = events
        self.additions = 0
        """Number of times that deaths were added. A read that began before the last time may have loaded state that the
        dead silo changed afterwards.
        """

    def on_view(self, view: View) -> None:
        """Add the deaths of this view. From here on reads wait until they are recorded."""
        self._add([silo for silo in deaths(view, self._me) if self._is_new(silo)])

    def record_again(self) -> None:
        """Record all known deaths again: the store was unreachable, and may have gone back to an older state."""
        self._add(list(self._known.values()))

    @property
    def is_done(self) -> bool:
        """Whether every known death is recorded."""
        return not self._pending

    async def wait_done(self) -> None:
        """Wait until every known death is recorded. The caller bounds the time."""
        while self._pending:
            await self._done.wait()

    async def run(self) -> None:
        """Record deaths as they come, until it is cancelled; try again while the store cannot be reached."""
        backoff = Backoff(RETRY_FIRST, RETRY_LIMIT, self._rng)
        while True:
            await self._due.wait()
            pending = sorted(self._pending.values())
            try:
                await self._storage.fence([self._writer(silo) for silo in pending])
            except Exception as error:
                self._log_failure(pending, error)
                await asyncio.sleep(backoff.pause())
            else:
                backoff.reset()
                self._on_recorded(pending)

    def _is_new(self, silo: SiloAddress) -> bool:
        known = self._known.get(silo.endpoint)
        return known is None or known.generation < silo.generation

    def _add(self, silos: list[SiloAddress]) -> None:
        if not silos:
            return
        for silo in silos:
            self._known[silo.endpoint] = self._pending[silo.endpoint] = silo
        self.additions += 1
        self._due.set()
        self._done.clear()

    def _on_recorded(self, silos: list[SiloAddress]) -> None:
        for silo in silos:
            if self._pending.get(silo.endpoint) == silo:  # otherwise a later generation has died meanwhile
                del self._pending[silo.endpoint]
        if not self._pending:
            self._due.clear()
            self._done.set()

    def _log_failure(self, silos: list[SiloAddress], error: Exception) -> None:
        shown = ", ".join(map(str, silos[:MAX_LOGGED])) + (", …" if len(silos) > MAX_LOGGED else "")
        self._events.publish(DeathsNotRecorded(self._name, shown, str(error)), error)
