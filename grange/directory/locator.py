"""Where a grain is, and which activation is its one: the runtime's `Locator` and `Claims` on a silo of a
cluster.

To locate: the cache, else what every silo can compute (the ring), else the directory, else placement chooses.
None of it is binding: the silo that is asked claims the grain, and the directory decides who wins.
"""

from __future__ import annotations

import logging

from grange.directory.cache import PlaceCache
from grange.directory.provider import GrainDirectory
from grange.directory.repair.sweep import Sweep
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.deps import DirectoryDeps
from grange.directory.slice.topology import Hosting, Topology
from grange.errors import ConfigurationError, GrangeError, NoSuchGrain, SiloUnavailable
from grange.membership.model.member import SiloStatus
from grange.placement.provider import PlacementContext, PlacementStrategy
from grange.proto.ids import GrainAddress, GrainId, SiloAddress

logger = logging.getLogger(__name__)


class ClusterLocator:
    """Implements `runtime.locator.Locator` and `Claims`."""

    def __init__(self, deps: DirectoryDeps, current: CurrentView, directory: GrainDirectory, sweep: Sweep) -> None:
        self._deps = deps
        self._current = current
        self._directory = directory
        self._sweep = sweep
        self._cache = PlaceCache(deps.options.cache_size)

    def known(self, grain_id: GrainId) -> SiloAddress | None:
        """From the cache, or computed where the type's placement can be; takes about a microsecond."""
        cached = self._cache.get(grain_id)
        if cached is not None:
            return cached
        topology = self._current.topology
        hosting = topology.hosting.get(grain_id.type)
        if hosting is None:
            return None
        strategy = self._deps.strategies.get(hosting.placement)
        if strategy is None or not strategy.computed:
            return None
        return strategy.choose(self._context(grain_id, hosting, topology))

    async def locate(self, grain_id: GrainId) -> SiloAddress:
        """See `Locator`. Also raises ConfigurationError when this silo does not know the type's placement."""
        hosting = self._hosting(grain_id)
        strategy = self._strategy(grain_id, hosting)
        if strategy.computed:
            return self._choose(strategy, grain_id, hosting)
        entry = await self._directory.lookup(grain_id)
        # The world may have changed during the look-up: whatever was learnt meanwhile is newer.
        if (cached := self._cache.get(grain_id)) is not None:
            return cached
        if entry is not None and not self._current.topology.is_dead(entry.silo):
            silo = entry.silo
        else:
            silo = self._choose(strategy, grain_id, self._hosting(grain_id))
        self._cache.put(grain_id, silo)
        return silo

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """See `Locator`. What was learnt since the call was sent to `silo` stays."""
        cached = self._cache.get(grain_id)
        if cached is not None and cached != silo:
            return
        if hint is None or hint == silo or self._current.topology.is_dead(hint):
            self._cache.drop(grain_id, silo)
        else:
            self._cache.put(grain_id, hint)

    async def changed(self, seconds: float) -> None:
        """Wait for a newer view or a recovered range, at most so long."""
        await self._current.changed.wait(seconds)

    async def claim(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """See `Claims`. The winner carries the version under which it was registered: keep it.

        A winner whose silo is gone, or an older one of this very silo, is replaced: nobody runs it any more,
        since a catalog has one activation of a grain at a time. One on a silo that leaves is replaced if it is not
        there: such a silo claims nothing any more, so nobody else would find out.
        """
        winner = await self._directory.register(address, previous)
        while not winner.same_activation(address) and (self._is_over(winner) or await self._has_left(winner)):
            winner = await self._directory.register(address, winner)
        grain_id = address.grain_id
        if winner.silo != self._deps.me or not self._is_computed(grain_id) or self._cache.get(grain_id) is not None:
            self._cache.put(grain_id, winner.silo)
        return winner

    async def release(self, address: GrainAddress) -> None:
        """See `Claims`. The cache forgets it before the directory is asked."""
        self._cache.drop(address.grain_id, address.silo)
        try:
            await self._directory.unregister(address)
        except GrangeError as error:
            logger.warning("%s was not unregistered; the next claim will replace it: %s", address, error)

    def advanced(self, before: Topology, after: Topology) -> None:
        """A newer view: forget what was cached on silos that are gone. Called by `cluster.py`."""
        for silo in self._cache.silos:
            if after.is_dead(silo) or (silo in before.live and silo not in after.live):
                self._cache.drop_silo(silo)

    def _is_computed(self, grain_id: GrainId) -> bool:
        hosting = self._current.topology.hosting.get(grain_id.type)
        strategy = hosting and self._deps.strategies.get(hosting.placement)
        return bool(strategy and strategy.computed)

    def _is_over(self, winner: GrainAddress) -> bool:
        return winner.silo == self._deps.me or self._current.topology.is_dead(winner.silo)

    async def _has_left(self, winner: GrainAddress) -> bool:
        if self._current.topology.status(winner.silo) is not SiloStatus.LEAVING:
            return False
        return bool(await self._sweep.absent(winner.silo, [winner]))

    def _hosting(self, grain_id: GrainId) -> Hosting:
        topology = self._current.topology
        hosting = topology.hosting.get(grain_id.type)
        if hosting is not None:
            return hosting
        if not topology.ring.addresses:
            raise SiloUnavailable(f"call to {grain_id} was not executed: no silo is active; start one")
        types = ", ".join(sorted(topology.hosting)) or "none at all"
        silos = ", ".join(map(str, sorted(topology.ring.addresses)))
        raise NoSuchGrain(
            f"no active silo hosts grain type {grain_id.type!r}; hosted types are {types}, on {silos}; "
            f"is its class in grains= of a silo?"
        )

    def _strategy(self, grain_id: GrainId, hosting: Hosting) -> PlacementStrategy:
        strategy = self._deps.strategies.get(hosting.placement)
        if strategy is None:
            raise ConfigurationError(
                f"grain type {grain_id.type!r} has placement {hosting.placement!r}, which silo "
                f"{self._deps.me} does not know; it knows {', '.join(sorted(self._deps.strategies))}"
            )
        return strategy

    def _choose(self, strategy: PlacementStrategy, grain_id: GrainId, hosting: Hosting) -> SiloAddress:
        chosen = strategy.choose(self._context(grain_id, hosting, self._current.topology))
        if chosen not in hosting.silos:
            raise ConfigurationError(
                f"placement {strategy.name!r} chose {chosen} for {grain_id}, which is none of its candidates"
            )
        return chosen

    def _context(self, grain_id: GrainId, hosting: Hosting, topology: Topology) -> PlacementContext:
        ring_owner = topology.ring.owner(grain_id.ring_hash, hosting.allowed)
        assert ring_owner is not None, "a type is hosted by at least one silo of the ring"
        return PlacementContext(grain_id, self._deps.me, hosting.silos, ring_owner, self._deps.random)
