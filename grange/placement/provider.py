"""The contract of a placement strategy, and the facts it decides on."""

from __future__ import annotations

from random import Random
from typing import Protocol

import msgspec

from grange.proto.ids import GrainId, SiloAddress


class PlacementContext(msgspec.Struct, frozen=True):
    """What a strategy may know: the same facts give the same choice, apart from what it draws from `random`.

    `caller` is the silo that asks. `candidates` are the active silos that host the grain's type, ordered by
    address and never empty. `ring_owner` is the one of them that the hash ring names for this grain.
    """

    grain_id: GrainId
    caller: SiloAddress
    candidates: tuple[SiloAddress, ...]
    ring_owner: SiloAddress
    random: Random


class PlacementStrategy(Protocol):
    """How one kind of grain is spread over silos. Stateless; all silos of a cluster should have the same."""

    @property
    def name(self) -> str:
        """What a grain class writes in `placement=`, and silos tell each other by the membership table."""
        ...

    @property
    def computed(self) -> bool:
        """Whether every silo may act on its own `choose` at once, with no directory look-up before the first
        send.

        Right where all silos choose alike (the ring), or where it does not matter which one is chosen.
        """
        ...

    def choose(self, context: PlacementContext) -> SiloAddress:
        """One of the candidates. Called for each call whose place is not cached, so it must be quick."""
        ...
