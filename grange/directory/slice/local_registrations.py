"""The registrations of this silo, won and in flight, for its answers to the owners of slices. Pure.

This file closes a race. A registration may be in flight to the old owner of a range while the new owner asks this
silo for its registrations. The answer does not contain it, so after the old owner's reply the new owner would never
learn of it. Therefore each answer marks the registrations in flight that it could not contain as missed. A missed one
must be made again, with the new owner, before the caller may act on it. A registration that was won before the answer
is part of the answer. ADR 0021 argues it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

from grange.directory.slice.ranges import RangeSet
from grange.proto.ids import GrainAddress


class RegisteredHere(Protocol):
    """Lists this silo's activations whose claim was won and whose release has not begun, as `claim` returned them."""

    def __call__(self, start: int = 0, count: int | None = None) -> Iterable[GrainAddress]:
        """Only those among `count` activations from the `start`-th on, in the order in which they were made."""
        ...


class PendingRegistration:
    """One registration in flight to the owner of its range."""

    __slots__ = ("hash", "missed")

    def __init__(self, hash: int) -> None:
        self.hash = hash
        self.missed = False
        """Whether this silo has reported its registrations in this range since `begin`, without this one."""


class LocalRegistrations:
    """The registrations of this silo. The catalog lists those that were won; this class tracks those in flight."""

    def __init__(self, registered: RegisteredHere) -> None:
        self._registered = registered
        self._pending: set[PendingRegistration] = set()

    def begin(self, hash: int) -> PendingRegistration:
        """Track a registration that is about to be sent. The caller must call `end` for it in every case."""
        pending = PendingRegistration(hash)
        self._pending.add(pending)
        return pending

    def end(self, pending: PendingRegistration) -> None:
        """Stop tracking: the reply has arrived, or none will."""
        self._pending.discard(pending)

    def registered(self, ranges: RangeSet) -> Iterator[GrainAddress]:
        """All activations registered at this moment, in any range. The caller filters by `ranges` as it iterates.

        Marks the registrations in flight in these ranges as missed. An activation that is released before the iterator
        reaches it may be left out: its release goes to the owner that asks.
        """
        for pending in self._pending:
            pending.missed = pending.missed or pending.hash in ranges
        return iter(self._registered())


PAGE_BYTES = 2 * 2**20
"""Size limit of one page in bytes: half of the limit of a message. Pages of entries with long keys reach it first."""

_ENTRY_BYTES = 64
"""Size of an entry in bytes without its texts."""


def page_of(pairs: list[tuple[int, GrainAddress]], ranges: RangeSet, size: int) -> tuple[list[GrainAddress], RangeSet]:
    """The first `size` of these (hash, address) pairs in ring order, and the ranges that they do not cover.

    The page is shorter if it would exceed `PAGE_BYTES`. Grains with the same hash are never split between pages, so a
    page may be a little longer.
    """
    if _fitting(pairs, size) == len(pairs):
        return [address for _, address in pairs], RangeSet()
    pairs.sort(key=lambda pair: pair[0])
    last = pairs[_fitting(pairs, size) - 1][0]
    page = [address for hash, address in pairs if hash <= last]
    return page, ranges.above(last)


def _fitting(pairs: list[tuple[int, GrainAddress]], size: int) -> int:
    """How many of the first pairs fit into a page; at least one, if there is one."""
    room = PAGE_BYTES
    for count, (_, address) in enumerate(islice(pairs, size)):
        grain_id = address.grain_id
        room -= _ENTRY_BYTES + len(f"{grain_id.type}{grain_id.key}{address.silo.host}".encode())
        if room < 0:
            return max(1, count)
    return min(size, len(pairs))
