"""The contract of a placement strategy, and the facts that it decides on."""

from __future__ import annotations

from random import Random
from typing import Protocol

import msgspec

from grange.proto.ids import GrainId, SiloAddress


class PlacementContext(msgspec.Struct, frozen=True):
    """The facts that a strategy decides on. The same facts give the same choice, except for draws from `random`.

    `caller` is the silo that places the grain. `candidates` are the active silos that host the grain's type, ordered by
    address and never empty. `ring_owner` is the candidate that the hash ring names for this grain.
    """

    grain_id: GrainId
    caller: SiloAddress
    candidates: tuple[SiloAddress, ...]
    ring_owner: SiloAddress
    random: Random


class PlacementStrategy(Protocol):
    """Distributes grains of a class over silos. Stateless; all silos of a cluster should have the same strategies."""

    @property
    def name(self) -> str:
        """The value of a grain class's `placement=`. Silos publish it per grain type in the membership table."""
        ...

    @property
    def computed(self) -> bool:
        """Whether a silo may send a call to the silo that it chooses, without a directory look-up.

        True if all silos make the same choice (the ring), or if every choice is correct.
        """
        ...

    def choose(self, context: PlacementContext) -> SiloAddress:
        """Choose one of the candidates. Called for each call whose place is not cached, so it must be fast."""
        ...
