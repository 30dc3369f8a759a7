"""Locates grains and claims activations: the runtime's `Locator` and `Claims` in a clustered silo.

A grain is located by the cache, else by computation (the ring), else by the directory, else by its placement strategy.
The result is a guess: the silo that receives the call claims the grain, and the directory decides which claim wins.
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
from grange.proto.versions import parts_of
from grange.runtime.locator import Moved

logger = logging.getLogger("grange.directory")

MOST_NARROWED = 1_000
"""Pairs of a grain type and a wanted version whose silos are remembered; peers choose the versions."""


class ClusterLocator:
    """Implements `runtime.locator.Locator` and `Claims` over the directory."""

    def __init__(self, deps: DirectoryDeps, current: CurrentView, directory: GrainDirectory, sweep: Sweep) -> None:
        self._deps = deps
        self._figures = deps.figures
        self._current = current
        self._directory = directory
        self._sweep = sweep
        self._cache = PlaceCache(deps.options.cache_size)
        self._moved: Moved = _ignore
        self._narrowed: dict[tuple[str, int, int], Hosting | None] = {}

    def known(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        """The silo from the cache, or computed if the type's placement allows that. Takes about a microsecond.

        A cached one may host another version than the wanted one: if it does not serve it, it refuses, and lets the
        grain go.
        """
        cached = self._cache.get(grain_id)
        if cached is not None:
            self._figures.cache_hits += 1
            return cached
        topology = self._current.topology
        hosting = topology.hosting.get(grain_id.type)
        if wanted and hosting is not None:
            hosting = self._serving(grain_id.type, hosting, wanted)
        if hosting is None:
            return None
        strategy = self._deps.strategies.get(hosting.placement)
        if strategy is None or not strategy.computed:
            return None
        return strategy.choose(self._context(grain_id, hosting, topology))

    def takes(self, grain_type: str, wanted: int = 0) -> bool:
        """Whether a new grain of this type may be placed on this silo; not while it is cordoned."""
        topology, me = self._current.topology, self._deps.me
        if me not in topology.cordoned:
            return True
        hosting = topology.hosting[grain_type]
        serving = self._serving(grain_type, hosting, wanted) if wanted else hosting
        return serving is not None and me in serving.silos

    def serving(self, grain_id: GrainId, wanted: int) -> SiloAddress | None:
        """The silo for a new activation that serves this version of an interface; None: no active silo does."""
        hosting = self._current.topology.hosting.get(grain_id.type)
        serving = None if hosting is None else self._serving(grain_id.type, hosting, wanted)
        if serving is None or self._deps.strategies.get(serving.placement) is None:
            return None
        return self._choose(self._strategy(grain_id, serving), grain_id, serving)

    async def locate(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress:
        """See `Locator`. Also raises ConfigurationError if this silo does not know the type's placement strategy."""
        hosting = self._hosting(grain_id, wanted)
        strategy = self._strategy(grain_id, hosting)
        if strategy.computed:
            return self._choose(strategy, grain_id, hosting)
        entry = await self._directory.lookup(grain_id)
        # The cache may have changed during the look-up. Then its value is the newer one.
        if (cached := self._cache.get(grain_id)) is not None:
            return cached
        if entry is not None and not self._current.topology.is_dead(entry.silo):
            silo = entry.silo
        else:
            silo = self._choose(strategy, grain_id, self._hosting(grain_id, wanted))
        self._put(grain_id, silo)
        return silo

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """See `Locator`. A place that was cached after the call was sent to `silo` stays."""
        cached = self._cache.get(grain_id)
        if cached is not None and cached != silo:
            return
        if hint is None or hint == silo or self._current.topology.is_dead(hint):
            self._drop(grain_id, silo)
        else:
            self._put(grain_id, hint)

    async def changed(self, seconds: float) -> None:
        """Wait up to `seconds` for a newer view or a recovered range."""
        await self._current.changed.wait(seconds)

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
        self._narrowed.clear()
        self._moved(None)

    def _note_winner(self, winner: GrainAddress) -> None:
        """Cache the silo of a grain, unless the ring computes it."""
        grain_id = winner.grain_id
        if winner.silo != self._deps.me or not self._is_computed(grain_id) or self._cache.get(grain_id) is not None:
            self._put(grain_id, winner.silo)

    def _put(self, grain_id: GrainId, silo: SiloAddress) -> None:
        self._cache.put(grain_id, silo)
        self._moved(grain_id)

    def _drop(self, grain_id: GrainId, silo: SiloAddress) -> None:
        self._cache.drop(grain_id, silo)
        self._moved(grain_id)

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

    def _serving(self, grain_type: str, hosting: Hosting, wanted: int) -> Hosting | None:
        """The silos that host the type in a version that serves this caller; None: there is none."""
        policy = self._deps.versions
        key = grain_type, wanted, policy.changes
        if key not in self._narrowed:
            if len(self._narrowed) >= MOST_NARROWED:
                self._narrowed.clear()
            self._narrowed[key] = hosting.serving(wanted, policy, self._current.topology.cordoned)
        return self._narrowed[key]

    def _hosting(self, grain_id: GrainId, wanted: int = 0) -> Hosting:
        topology = self._current.topology
        hosting = topology.hosting.get(grain_id.type)
        if hosting is not None:
            serving = self._serving(grain_id.type, hosting, wanted) if wanted else hosting
            if serving is None:
                raise NoSuchGrain(no_version(grain_id, hosting, wanted))
            return serving
        if not topology.ring.addresses:
            raise SiloUnavailable(f"call to {grain_id} was not executed: no silo is active; start one")
        types = ", ".join(sorted(topology.hosting)) or "none"
        silos = ", ".join(map(str, sorted(topology.ring.addresses)))
        raise NoSuchGrain(
            f"no active silo hosts grain type {grain_id.type!r}; hosted types are {types}, on {silos}; "
            f"is its class in grains= of a silo?"
        )

    def _strategy(self, grain_id: GrainId, hosting: Hosting) -> PlacementStrategy:
        strategy = self._deps.strategies.get(hosting.placement)
        if strategy is None:
            raise ConfigurationError(
                f"grain type {grain_id.type!r} has placement {hosting.placement!r}, which is unknown to "
                f"silo {self._deps.me}; known are {', '.join(sorted(self._deps.strategies))}"
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
        return PlacementContext(grain_id, self._deps.me, hosting.silos, ring_owner, self._deps.rng)


def no_version(grain_id: GrainId, hosting: Hosting, wanted: int) -> str:
    """The text for a caller whose version of an interface no active silo serves."""
    number, version = parts_of(wanted)
    hosted = {silo: found.get(number, ("", 0)) for silo, found in hosting.versions.items()}
    interface = next((repr(name) for name, _ in hosted.values() if name), "its interface")
    has = ", ".join(f"{silo} has {own or 'none'}" for silo, (_, own) in sorted(hosted.items()))
    return (
        f"the caller of {grain_id} needs version {version} of {interface}, and no active silo serves that; {has}: "
        "start a silo with that version, or set the rules in the table `versions`"
    )


def _ignore(_grain_id: GrainId | None) -> None:
    """Do nothing: no caller remembers places yet."""
