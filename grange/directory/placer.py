"""Places grains that have no activation: by the strategy of their type, on the silos that take new grains of it.

A silo that does not know the strategy of a type asks one that hosts the type: an object given as `placement=` exists
only there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from grange.directory.avoided import Avoided
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.deps import DirectoryDeps
from grange.directory.slice.messages import PLACE, Place, Placed, decode, encode
from grange.directory.slice.topology import Hosting, Topology
from grange.errors import ActivationFailed, CallNotExecuted, GrangeError, NoSuchGrain, Overloaded, SiloUnavailable
from grange.grains.context import visible
from grange.placement.provider import PlacementContext, PlacementStrategy
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.versions import parts_of
from grange.runtime.system_target import SystemTargets

logger = logging.getLogger("grange.directory")

Context = Mapping[str, str | int | float | bool | bytes | None]
"""The request context of a call."""

MOST_ASKED = 3
"""Silos that are asked to place a grain whose strategy this silo does not know, one after another."""

MOST_NARROWED = 1_000
"""Pairs of a grain type and a wanted version whose silos are remembered; peers choose the versions."""

_NO_CONTEXT: Context = MappingProxyType({})


class Placer:
    """The placement of one silo."""

    def __init__(self, deps: DirectoryDeps, current: CurrentView) -> None:
        self._deps = deps
        self._avoided = Avoided(asyncio.get_running_loop().time)
        self._current = current
        self._narrowed: dict[tuple[str, int, int], Hosting | None] = {}

    def serve(self, targets: SystemTargets) -> None:
        """Register the system target that places grains of the types of this silo for other silos."""
        targets.serve(PLACE, self._answer_place)

    def avoid(self, silo: SiloAddress) -> None:
        """This silo could not be reached: place no new grain there for a moment, if there is another silo."""
        self._avoided.add(silo)

    def forget(self) -> None:
        """Forget what held in the view before."""
        self._narrowed.clear()

    def computed(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        """The silo that every silo computes for this grain; None if its placement is not computed, or fails.

        `wanted` is the `interface_version` that the caller needs, as for the other methods; 0: any.
        """
        topology = self._current.topology
        hosting = self._serving(grain_id.type, wanted) if wanted else topology.hosting.get(grain_id.type)
        strategy = None if hosting is None else self._deps.strategies.get(hosting.placement)
        if hosting is None or strategy is None or not strategy.computed:
            return None
        try:
            return strategy.choose(self._context(grain_id, hosting, topology))
        except GrangeError:
            return None  # `place` tells the caller

    def is_computed(self, grain_type: str) -> bool:
        """Whether every silo computes the place of such grains."""
        hosting = self._current.topology.hosting.get(grain_type)
        strategy = hosting and self._deps.strategies.get(hosting.placement)
        return bool(strategy and strategy.computed)

    async def place(self, grain_id: GrainId, context: Context | None, wanted: int = 0) -> SiloAddress:
        """The silo for a new activation.

        Raises NoSuchGrain, SiloUnavailable, ActivationFailed, or the CallNotExecuted that a strategy raises.
        """
        hosting = self.hosting(grain_id, wanted)
        strategy = self._deps.strategies.get(hosting.placement)
        shown = visible(context) if context else _NO_CONTEXT
        if strategy is None:
            silo = await self._ask_host(grain_id, hosting, shown, wanted)
        else:
            silo = self._choose(strategy, grain_id, hosting, shown)
        self._deps.loads.note_placed(silo)
        return silo

    def obstacle(self, grain_type: str, silo: SiloAddress, wanted: int = 0) -> str:
        """Why no grain of this type can be placed on this silo; empty if one can."""
        hosting = self._serving(grain_type, wanted)
        if hosting is not None and silo in hosting.silos:
            return ""
        open_to_it = "none" if hosting is None else ", ".join(map(str, hosting.silos))
        return f"the silos that take new grains of type {grain_type!r} are: {open_to_it}"

    def elsewhere(self, grain_id: GrainId, but: Collection[SiloAddress] = ()) -> SiloAddress | None:
        """The silo that the grain's placement chooses among the other silos, without some; None if it finds none."""
        return self.among(grain_id, self._current.topology.ring.addresses - {self._deps.me, *but})

    def serving(self, grain_id: GrainId, wanted: int) -> SiloAddress | None:
        """A silo for a new activation that serves this version of an interface; None: no active silo serves it.

        If the placement chooses none, any of them: their state or their load does not make the version unknown.
        """
        hosting = self._serving(grain_id.type, wanted)
        if hosting is None:
            return None
        return self.among(grain_id, hosting.silos, wanted) or self._deps.rng.choice(hosting.silos)

    def among(self, grain_id: GrainId, allowed: Collection[SiloAddress], wanted: int = 0) -> SiloAddress | None:
        """The silo that the grain's placement chooses among these; None if it finds none."""
        hosting = self._serving(grain_id.type, wanted)
        strategy = None if hosting is None else self._deps.strategies.get(hosting.placement)
        others = () if hosting is None else tuple(silo for silo in hosting.silos if silo in allowed)
        if hosting is None or strategy is None or not others:
            return None
        narrowed = Hosting(others, hosting.placement, frozenset(others), hosting.versions)
        try:
            silo = self._choose(strategy, grain_id, narrowed, _NO_CONTEXT)
        except GrangeError as error:
            logger.info("the placement of %s finds no silo to move to: %s", grain_id, error)
            return None
        self._deps.loads.note_placed(silo)
        return silo

    def hosting(self, grain_id: GrainId, wanted: int = 0) -> Hosting:
        """The silos that take new grains of this type. Raises NoSuchGrain or SiloUnavailable if there is none."""
        topology = self._current.topology
        hosting = topology.hosting.get(grain_id.type)
        if hosting is not None:
            serving = self._serving(grain_id.type, wanted)
            if serving is None:
                raise NoSuchGrain(_no_version(grain_id, hosting, wanted))
            return serving
        if not topology.ring.addresses:
            raise SiloUnavailable(f"call to {grain_id} was not executed: no silo is active; start one")
        types = ", ".join(sorted(topology.hosting)) or "none"
        silos = ", ".join(map(str, sorted(topology.ring.addresses)))
        raise NoSuchGrain(
            f"no active silo hosts grain type {grain_id.type!r}; hosted types are {types}, on {silos}; "
            f"is its class in grains= of a silo?"
        )

    @property
    def needs_loads(self) -> bool:
        """Whether the placement of any type in the cluster looks at loads; an unknown one may."""
        known = self._deps.strategies
        names = {hosting.placement for hosting in self._current.topology.hosting.values()}
        return any(name not in known or known[name].uses_loads for name in names)

    def _serving(self, grain_type: str, wanted: int) -> Hosting | None:
        """The silos that take new grains of this type from callers of this version; None: no active silo serves it."""
        hosting = self._current.topology.hosting.get(grain_type)
        if not wanted or hosting is None:
            return hosting
        policy = self._deps.versions
        key = grain_type, wanted, policy.changes
        if key not in self._narrowed:
            if len(self._narrowed) >= MOST_NARROWED:
                self._narrowed.clear()
            self._narrowed[key] = self._current.topology.serving(hosting, wanted, policy)
        return self._narrowed[key]

    def _choose(
        self, strategy: PlacementStrategy, grain_id: GrainId, hosting: Hosting, request_context: Context
    ) -> SiloAddress:
        """What the strategy chooses. Where every silo computes the same place, none is avoided."""
        if not strategy.computed and (silos := self._avoided.among(hosting.silos)) is not hosting.silos:
            hosting = Hosting(silos, hosting.placement, frozenset(silos), hosting.versions)
        context = self._context(grain_id, hosting, self._current.topology)
        if not strategy.computed:
            loads = self._deps.loads.fresh() if strategy.uses_loads else context.loads
            context = msgspec.structs.replace(context, loads=loads, request_context=request_context)
        return strategy.choose(context)

    def _context(self, grain_id: GrainId, hosting: Hosting, topology: Topology) -> PlacementContext:
        ring_owner = topology.ring.owner(grain_id.ring_hash, hosting.allowed)
        assert ring_owner is not None, "a type is hosted by at least one silo of the ring"
        return PlacementContext(
            grain_id, self._deps.me, hosting.silos, ring_owner, self._deps.rng, topology.labels, ring=topology.ring
        )

    async def _ask_host(self, grain_id: GrainId, hosting: Hosting, context: Context, wanted: int) -> SiloAddress:
        if self._deps.me in hosting.silos:
            raise ActivationFailed(
                f"{grain_id} was not activated: silo {self._deps.me} hosts its type and does not know its placement "
                f"{hosting.placement!r}; known are {', '.join(sorted(self._deps.strategies))}"
            )
        question = encode(Place(grain_id.type, grain_id.key, msgspec.msgpack.encode(context)))
        problem = ""
        silos = self._avoided.among(hosting.silos)
        for host in self._deps.rng.sample(silos, min(MOST_ASKED, len(silos))):
            try:
                placed = decode(Placed, await self._deps.ask(host, PLACE, question, self._deps.options.ask_timeout))
            except GrangeError as error:
                problem = str(error)
                continue
            if placed.silo is not None:
                return placed.silo
            raise (
                Overloaded(placed.problem, placed.retry_after)
                if placed.retry_after
                else ActivationFailed(placed.problem)
            )
        raise SiloUnavailable(f"{grain_id} was not activated: no silo that knows its placement answered: {problem}")

    async def _answer_place(self, data: bytes) -> bytes:
        """The system target `directory.place`: chooses the silo for a grain of a type of this silo."""
        asked = decode(Place, data)
        try:
            context = msgspec.msgpack.decode(asked.context, type=dict[str, Any])
            return encode(Placed(await self.place(GrainId(asked.type, asked.key), context)))
        except Overloaded as error:
            return encode(Placed(None, str(error), error.retry_after))
        except CallNotExecuted as error:
            return encode(Placed(None, str(error)))


def _no_version(grain_id: GrainId, hosting: Hosting, wanted: int) -> str:
    """The text for a caller whose version of an interface no active silo serves."""
    number, version = parts_of(wanted)
    hosted = {silo: found.get(number, ("", 0)) for silo, found in hosting.versions.items()}
    interface = next((repr(name) for name, _ in hosted.values() if name), "its interface")
    has = ", ".join(f"{silo} has {own or 'none'}" for silo, (_, own) in sorted(hosted.items()))
    return (
        f"the caller of {grain_id} needs version {version} of {interface}, and no active silo serves that; {has}: "
        "start a silo with that version, or set the rules in the table `versions`"
    )
