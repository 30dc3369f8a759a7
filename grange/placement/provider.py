"""The contract of a placement strategy, and the facts that it decides on."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Protocol

import msgspec

from grange.proto.ids import GrainId, SiloAddress


class SiloLoad(msgspec.Struct, frozen=True):
    """How full one silo is, as far as this silo knows: 1.0 is full (the figure `grange_load`).

    `activations` are in its memory. `placed`: grains that this silo has placed there since it learned both figures.
    """

    value: float
    activations: int = 0
    placed: int = 0

    @property
    def expected(self) -> float:
        """The load with the grains placed there since: it grows with the activations."""
        share = self.value / self.activations if self.activations else 0.0
        return self.value + self.placed * max(share, LEAST_SHARE)


LEAST_SHARE = 0.0001
"""The load of one grain that was placed on a silo without activations: a full silo holds 10,000 of them."""


class RingView(Protocol):
    """The consistent-hash ring of the active silos; `membership/model/hash_ring.py` has it."""

    def owner(self, hash: int, allowed: Container[SiloAddress] | None = None) -> SiloAddress | None:
        """The owner of this hash among these silos."""
        ...


_NO_LABELS: Mapping[SiloAddress, frozenset[str]] = MappingProxyType({})
_NO_LOADS: Mapping[SiloAddress, SiloLoad] = MappingProxyType({})
_NO_CONTEXT: Mapping[str, object] = MappingProxyType({})


class PlacementContext(msgspec.Struct, frozen=True):
    """The facts that a strategy decides on. The same facts give the same choice, except for draws from `random`.

    `caller` is the silo that places the grain; for the call of a client that is its gateway. `candidates` are the
    active silos that take new grains of the type, ordered by address and never empty. `ring_owner` is the candidate
    that the hash ring names for this grain. `labels` are those of the silos.

    `loads` and `request_context` (that of the call) are there for strategies that are not `computed`. A silo whose load
    is not known, or was not heard of for a while, is absent from `loads`.
    """

    grain_id: GrainId
    caller: SiloAddress
    candidates: tuple[SiloAddress, ...]
    ring_owner: SiloAddress
    random: Random
    labels: Mapping[SiloAddress, frozenset[str]] = _NO_LABELS
    loads: Mapping[SiloAddress, SiloLoad] = _NO_LOADS
    request_context: Mapping[str, object] = _NO_CONTEXT
    ring: RingView | None = None

    def labels_of(self, silo: SiloAddress) -> frozenset[str]:
        """The labels of one silo."""
        return self.labels.get(silo, frozenset())

    def among(self, candidates: Sequence[SiloAddress]) -> PlacementContext:
        """The same facts with fewer candidates, at least one."""
        owner = None if self.ring is None else self.ring.owner(self.grain_id.ring_hash, frozenset(candidates))
        return msgspec.structs.replace(self, candidates=tuple(candidates), ring_owner=owner or candidates[0])


class PlacementStrategy(Protocol):
    """Distributes grains of a class over silos. Stateless; all silos of a cluster should have the same strategies."""

    @property
    def name(self) -> str:
        """Its name. Silos publish it per grain type in the membership table."""
        ...

    @property
    def computed(self) -> bool:
        """Whether a silo may send a call to the silo that it chooses, without a directory look-up.

        True if all silos make the same choice from the view of the cluster, or if every choice is correct.
        """
        ...

    @property
    def uses_loads(self) -> bool:
        """Whether it looks at `loads`. If no strategy of the cluster does, silos do not tell each other their loads."""
        ...

    def choose(self, context: PlacementContext) -> SiloAddress:
        """Choose one of the candidates. Called for each call whose place is not cached, so it must be fast.

        A CallNotExecuted that it raises is the error of the call; any other error becomes ActivationFailed.
        """
        ...


Choose = Callable[[PlacementContext], SiloAddress]
"""A strategy as a plain function."""


class NamedStrategy(Protocol):
    """A strategy of an application: an object with a name and `choose`. It may have `computed = True`."""

    @property
    def name(self) -> str:
        """Its name, the same on all silos."""
        ...

    def choose(self, context: PlacementContext) -> SiloAddress:
        """Choose one of the candidates."""
        ...
