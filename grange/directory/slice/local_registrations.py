"""What this silo tells the owners of slices about itself: the activations that it has registered. Pure.

The race it closes: a registration may be on its way to a slice's old owner while the new owner asks us what we run.
It is not in our answer, and once the old owner's reply is here, nobody would know of it. So every answer marks the
registrations in flight that it could not contain, and a marked one must be made again, with the new owner, before
anybody may believe in it. One that was believed in before the answer is part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from grange.directory.slice.ranges import RangeSet
from grange.proto.ids import GrainAddress

RegisteredHere = Callable[[], Iterable[GrainAddress]]
"""The activations of this silo whose claim was won and whose release has not begun, as `claim` returned
them.
"""


class Attempt:
    """One registration that is on its way to the owner of its slice."""

    __slots__ = ("hash", "missed")

    def __init__(self, hash: int) -> None:
        self.hash = hash
        self.missed = False
        """Whether this silo has told an owner what it runs, and this was not part of it."""


class LocalRegistrations:
    """The registrations of this silo: the catalog knows those that were won, this knows those in flight."""

    def __init__(self, registered: RegisteredHere) -> None:
        self._registered = registered
        self._attempts: set[Attempt] = set()

    def begin(self, hash: int) -> Attempt:
        """A registration of a grain with this hash is about to be sent; `end` it whatever becomes of it."""
        attempt = Attempt(hash)
        self._attempts.add(attempt)
        return attempt

    def end(self, attempt: Attempt) -> None:
        """The reply is here, or there will be none."""
        self._attempts.discard(attempt)

    def registered(self, ranges: RangeSet) -> Iterator[GrainAddress]:
        """What is registered at this moment, in whatever range; the caller picks out `ranges`, in its own time. What
        is released before it is reached may be left out: its release goes to the owner that asks.

        Marks the registrations in flight in these ranges as missed.
        """
        for attempt in self._attempts:
            attempt.missed = attempt.missed or attempt.hash in ranges
        return iter(self._registered())


PAGE_BYTES = 2 * 2**20
"""Of one answer at most: half of what a message may have. With long keys it is reached first."""

_ENTRY_BYTES = 64
"""What an entry takes besides its texts."""


def page_of(found: list[tuple[int, GrainAddress]], ranges: RangeSet, size: int) -> tuple[list[GrainAddress], RangeSet]:
    """The first `size` or so of these (hash, address) pairs in ring order, fewer if they are big, and the ranges that
    they do not cover.

    Grains of one hash are never parted, so a page may be a little longer.
    """
    if _fitting(found, size) == len(found):
        return [address for _, address in found], RangeSet()
    found.sort(key=lambda pair: pair[0])
    last = found[_fitting(found, size) - 1][0]
    page = [address for hash, address in found if hash <= last]
    return page, ranges.above(last)


def _fitting(found: list[tuple[int, GrainAddress]], size: int) -> int:
    """How many of the first of them make a page; at least one, if there is one."""
    room = PAGE_BYTES
    for count, (_, address) in enumerate(islice(found, size)):
        grain_id = address.grain_id
        room -= _ENTRY_BYTES + len(f"{grain_id.type}{grain_id.key}{address.silo.host}".encode())
        if room < 0:
            return max(1, count)
    return min(size, len(found))
