"""Locates grains and claims activations: the runtime's `Locator` and `Claims` in a clustered silo.

A grain is located by the cache, else by computation (the ring), else by the directory, else by its placement strategy
(`placer.py`).
The result is a guess: the silo that receives the call claims the grain, and the directory decides which claim wins.
"""

from __future__ import annotations

import logging

from grange.directory.cache import PlaceCache
from grange.directory.client_locator import ClientLocator
from grange.directory.placer import Context, Placer
from grange.directory.provider import GrainDirectory
from grange.directory.repair.sweep import Sweep
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.deps import DirectoryDeps
from grange.directory.slice.topology import Topology
from grange.errors import GrangeError
from grange.membership.model.member import SiloStatus
from grange.proto.clients import CLIENT_TYPE
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.runtime.locator import Moved

logger = logging.getLogger("grange.directory")


class ClusterLocator:
    """Implements `runtime.locator.Locator` and `Claims` over the directory."""

    def __init__(
        self,
        deps: DirectoryDeps,
        current: CurrentView,
        directory: GrainDirectory,
        sweep: Sweep,
        placer: Placer,
        clients: ClientLocator,
    ) -> None:
        self._deps = deps
        self._figures = deps.figures
        self._current = current
        self._directory = directory
        self._sweep = sweep
        self._placer = placer
        self._clients = clients
        self._cache = PlaceCache(deps.options.cache_size)
        self._moved: Moved = _ignore

    def known(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        """The silo from the cache, or computed if the type's placement allows that. Takes about a microsecond.

        A cached one may host another version than the wanted one: if it does not serve it, it refuses, and lets the
        grain go.
        """
        cached = self._cache.get(grain_id)
        if cached is not None:
            self._figures.cache_hits += 1
            return cached
        computed = self._placer.computed(grain_id, wanted)
        if computed is None and grain_id.type == CLIENT_TYPE:
            return self._clients.known(grain_id)
        return computed

    def takes(self, grain_type: str, wanted: int = 0) -> bool:
        """Whether a new grain of this type may be placed on this silo; not while it is cordoned."""
        topology, me = self._current.topology, self._deps.me
        return me not in topology.cordoned or not self._placer.obstacle(grain_type, me, wanted)

    async def locate(self, grain_id: GrainId, context: Context | None = None, wanted: int = 0) -> SiloAddress:
        """See `Locator`."""
        if grain_id.type == CLIENT_TYPE:
            return await self._clients.locate(grain_id)
        self._placer.hosting(grain_id, wanted)
        if self._placer.is_computed(grain_id.type):
            return await self._placer.place(grain_id, context, wanted)
        entry = await self._directory.lookup(grain_id)
        # The cache may have changed during the look-up. Then its value is the newer one.
        if (cached := self._cache.get(grain_id)) is not None:
            return cached
        if entry is not None and not self._current.topology.is_dead(entry.silo):
            silo = entry.silo
        else:
            silo = await self._placer.place(grain_id, context, wanted)
        self._put(grain_id, silo)
        return silo

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """See `Locator`. A place that was cached after the call was sent to `silo` stays."""
        if absent:
            self._placer.avoid(silo)
        if grain_id.type == CLIENT_TYPE:
            self._clients.invalidate(grain_id, silo)
            self._moved(grain_id)
            return
        cached = self._cache.get(grain_id)
        if cached is not None and cached != silo:
            return
        if hint is None or hint == silo or self._current.topology.is_dead(hint):
            self._drop(grain_id, silo)
        else:
            self._put(grain_id, hint)

    @property
    def changes(self) -> int:
        """How often `changed` has ended early so far."""
        return self._current.changed.times

    async def changed(self, seconds: float) -> None:
        """Wait up to `seconds` for a newer view, a recovered range or the end of a hold."""
        await self._current.changed.wait(seconds)

    def expect(self, grain_id: GrainId, silo: SiloAddress) -> None:
        """Cache the silo where this grain is expected, because it has moved there or its placement hint names it."""
        self._put(grain_id, silo)

    @property
    def cached(self) -> int:
        """The number of grains whose silos are cached."""
        return len(self._cache)

    def watch(self, moved: Moved) -> None:
        """See `Locator`."""
        self._moved = moved

    def claim_now(self, address: GrainAddress) -> GrainAddress | None:
        """See `Claims`. It decides if this silo owns the grain's range, and no other activation is registered."""
        winner = self._directory.register_now(address)
        if winner is None or not winner.same_activation(address):
            return None
        self._figures.registrations += 1
        self._note_winner(winner)
        return winner

    async def claim(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """See `Claims`. The winner carries the version under which it was registered; the caller must keep it.

        A winner on a silo that is gone is replaced, and so is an older activation of this very silo: a catalog has one
        activation of a grain at a time, so the older one has ended. A winner on a leaving silo is replaced if it does
        not exist there. Such a silo makes no more claims, so it would not find the stale entry itself.
        """
        winner = await self._directory.register(address, previous)
        while not winner.same_activation(address) and (self._is_over(winner) or await self._has_left(winner)):
            winner = await self._directory.register(address, winner)
        if winner.same_activation(address):
            self._figures.registrations += 1
        else:
            self._figures.conflicts += 1
        self._note_winner(winner)
        return winner

    async def release(self, address: GrainAddress) -> None:
        """See `Claims`. Drops the grain from the cache before it asks the directory."""
        self._drop(address.grain_id, address.silo)
        try:
            await self._directory.unregister(address)
        except GrangeError as error:
            logger.warning("%s was not unregistered; the next claim will replace it: %s", address, error)

    def on_view(self, before: Topology, after: Topology) -> None:
        """Drop the cached places on silos that are gone in a newer view. Called by `cluster.py`, after the change."""
        for silo in self._cache.silos:
            if after.is_dead(silo) or (silo in before.live and silo not in after.live):
                self._cache.drop_silo(silo)
        self._placer.forget()
        self._clients.on_view(before, after)
        self._moved(None)

    def _note_winner(self, winner: GrainAddress) -> None:
        """Cache the silo of a grain, unless the ring computes it."""
        grain_id = winner.grain_id
        if (
            winner.silo != self._deps.me
            or not self._placer.is_computed(grain_id.type)
            or self._cache.get(grain_id) is not None
        ):
            self._put(grain_id, winner.silo)

    def _put(self, grain_id: GrainId, silo: SiloAddress) -> None:
        self._cache.put(grain_id, silo)
        self._moved(grain_id)

    def _drop(self, grain_id: GrainId, silo: SiloAddress) -> None:
        self._cache.drop(grain_id, silo)
        self._moved(grain_id)

    def _is_over(self, winner: GrainAddress) -> bool:
        return winner.silo == self._deps.me or self._current.topology.is_dead(winner.silo)

    async def _has_left(self, winner: GrainAddress) -> bool:
        if self._current.topology.status(winner.silo) is not SiloStatus.LEAVING:
            return False
        return bool(await self._sweep.absent(winner.silo, [winner]))


def _ignore(_grain_id: GrainId | None) -> None:
    """Do nothing: no caller remembers places yet."""
