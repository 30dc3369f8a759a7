"""All members of a large set that changes, in portions: a copy of the whole would hold the event loop. Pure.

Members stand in chunks in the order in which they came. A member never moves, so each one that stays is met exactly
once by a walk, also if others come and go between two portions of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

CHUNK = 682
"""Members of a full chunk: as many as a dictionary of 1024 places holds, so that none of its room is wasted."""


class Roster(Generic[T]):
    """The members. `add` returns the place of a member, which `remove` needs."""

    def __init__(self) -> None:
        self._newest: dict[T, None] = {}
        self._number = 0
        self._chunks = {0: self._newest}

    def add(self, member: T) -> int:
        """Add a member that is not in it; returns its place."""
        if len(self._newest) == CHUNK:
            self._number += 1
            self._newest = self._chunks[self._number] = {}
        self._newest[member] = None
        return self._number

    def remove(self, member: T, place: int) -> None:
        """Remove a member, in constant time."""
        chunk = self._chunks[place]
        del chunk[member]
        if not chunk and chunk is not self._newest:
            del self._chunks[place]

    def __iter__(self) -> Iterator[T]:
        """Each member that is in it all the time, once; of those that come or go meanwhile, some."""
        for number in list(self._chunks):
            yield from list(self._chunks.get(number, ()))
