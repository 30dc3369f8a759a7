"""The built-in placement strategies."""

from __future__ import annotations

from grange.placement.provider import PlacementContext, PlacementStrategy
from grange.proto.ids import SiloAddress


class RingOwner:
    """Places a grain on its owner on the consistent-hash ring. The default.

    The ring owner also holds the grain's directory entry. So a first call costs one message, and the claim costs none.
    """

    name = "ring"
    computed = True

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The ring owner among the candidates."""
        return context.ring_owner


class RandomChoice:
    """Places a grain on a random candidate, all equally likely. For grains that the ring distributes unevenly."""

    name = "random"
    computed = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        """One candidate at random."""
        return context.random.choice(context.candidates)


class PreferLocal:
    """Places a grain on the silo of its first caller if that silo hosts the type, else on a random candidate.

    For grains with one main caller.
    """

    name = "prefer_local"
    computed = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The caller's silo, or one candidate at random."""
        return local_or_random(context)


class StatelessWorker:
    """Places grains with `stateless_workers=`. They have no directory entry, and each silo runs its own activations.

    The runtime chooses it for such grains; no grain class names it.
    """

    name = "stateless_worker"
    computed = True

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The caller's silo, or one candidate at random, drawn anew for each call."""
        return local_or_random(context)


def local_or_random(context: PlacementContext) -> SiloAddress:
    """The caller's silo if it is a candidate, else one candidate at random."""
    if context.caller in context.candidates:
        return context.caller
    return context.random.choice(context.candidates)


def builtin_strategies() -> dict[str, PlacementStrategy]:
    """The built-in strategies by name. At start, a silo adds the strategies passed as `placement=`."""
    known: tuple[PlacementStrategy, ...] = (RingOwner(), RandomChoice(), PreferLocal(), StatelessWorker())
    return {strategy.name: strategy for strategy in known}
