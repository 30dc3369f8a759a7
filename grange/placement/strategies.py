"""The built-in placement strategies that have a name; `filters.py` has those that look at labels."""

from __future__ import annotations

import math

import msgspec

from grange.errors import Overloaded
from grange.placement.provider import PlacementContext, SiloLoad
from grange.proto.ids import SiloAddress

FULL = 1.0
"""The load from which on a silo gets no new grains by `least_loaded`."""

BANDS = 20
"""Loads that differ by less than a twentieth count as equal; then the number of activations decides."""

RETRY_AFTER = 1.0
"""Seconds after which a call may be repeated that found all silos full: then their loads are new."""


class RingOwner(msgspec.Struct, frozen=True):
    """Places a grain on its owner on the consistent-hash ring. The default.

    The ring owner also holds the grain's directory entry. So a first call costs one message, and the claim costs none.
    """

    name: str = "ring"
    computed: bool = True
    uses_loads: bool = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The ring owner among the candidates."""
        return context.ring_owner


class RandomChoice(msgspec.Struct, frozen=True):
    """Places a grain on a random candidate, all equally likely. For grains that the ring distributes unevenly."""

    name: str = "random"
    computed: bool = False
    uses_loads: bool = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        """One candidate at random."""
        return context.random.choice(context.candidates)


class PreferLocal(msgspec.Struct, frozen=True):
    """Places a grain on the silo of its first caller if that silo hosts the type, else on a random candidate.

    For grains with one main caller.
    """

    name: str = "prefer_local"
    computed: bool = False
    uses_loads: bool = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The caller's silo, or one candidate at random."""
        return local_or_random(context)


class LeastLoaded(msgspec.Struct, frozen=True):
    """Places a grain on the least loaded of √n candidates, drawn at random from those that are not full.

    So the choices of many silos at once do not meet on one. A candidate of unknown load is chosen only if there is no
    other.
    """

    name: str = "least_loaded"
    computed: bool = False
    uses_loads: bool = True

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The best of the sample. Raises Overloaded if all candidates are full."""
        loads = context.loads
        open_ones = [silo for silo in context.candidates if silo in loads and loads[silo].expected < FULL]
        if not open_ones:
            unknown = [silo for silo in context.candidates if silo not in loads]
            if not unknown:
                raise Overloaded(
                    f"{context.grain_id} was not activated: all {len(context.candidates)} silos that host it are full; "
                    "add a silo",
                    RETRY_AFTER,
                )
            return context.random.choice(unknown)
        count = min(len(open_ones), max(2, math.ceil(math.sqrt(len(open_ones)))))
        return min(context.random.sample(open_ones, count), key=lambda silo: _rank(loads[silo]))


class StatelessWorker(msgspec.Struct, frozen=True):
    """Places grains with `stateless_workers=`. They have no directory entry, and each silo runs its own activations.

    The runtime chooses it for such grains; no grain class names it.
    """

    name: str = "stateless_worker"
    computed: bool = True
    uses_loads: bool = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The caller's silo, or one candidate at random, drawn anew for each call."""
        return local_or_random(context)


def local_or_random(context: PlacementContext) -> SiloAddress:
    """The caller's silo if it is a candidate, else one candidate at random."""
    if context.caller in context.candidates:
        return context.caller
    return context.random.choice(context.candidates)


def _rank(load: SiloLoad) -> tuple[int, int]:
    return int(load.expected * BANDS), load.activations + load.placed
