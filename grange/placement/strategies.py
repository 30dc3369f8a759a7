"""The strategies that come with grange."""

from __future__ import annotations

from grange.placement.provider import PlacementContext, PlacementStrategy
from grange.proto.ids import SiloAddress


class RingOwner:
    """Where the consistent-hash ring says. The default.

    The ring owner of a grain also keeps its directory entry, so a first call is one message and a claim is
    none.
    """

    name = "ring"
    computed = True

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The ring owner among the candidates."""
        return context.ring_owner


class RandomChoice:
    """Anywhere, each candidate as likely as any other. For grains whose keys would crowd on the ring."""

    name = "random"
    computed = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        """One candidate by lot."""
        return context.random.choice(context.candidates)


class PreferLocal:
    """Where the first call came from, if that silo hosts the type; else anywhere. For one main caller."""

    name = "prefer_local"
    computed = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The caller's silo, or one candidate by lot."""
        return local_or_random(context)


class StatelessWorker:
    """For grains with `stateless_workers=`: they are in no directory, and each silo runs its own.

    It is chosen by the runtime for such grains; no grain class names it.
    """

    name = "stateless_worker"
    computed = True

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The caller's silo, or one candidate by lot, anew for each call."""
        return local_or_random(context)


def local_or_random(context: PlacementContext) -> SiloAddress:
    """The caller's silo if it is a candidate, else one candidate by lot."""
    if context.caller in context.candidates:
        return context.caller
    return context.random.choice(context.candidates)


def builtin_strategies() -> dict[str, PlacementStrategy]:
    """The strategies of this file by name; a silo adds its author's own to them at start-up."""
    known: tuple[PlacementStrategy, ...] = (RingOwner(), RandomChoice(), PreferLocal(), StatelessWorker())
    return {strategy.name: strategy for strategy in known}
