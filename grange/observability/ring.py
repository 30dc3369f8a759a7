"""A ring of the newest entries, numbered from 1, that readers follow by number. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class Ring(Generic[T]):
    """Keeps the newest `size` entries. `last` is the number of the newest one; 0 before the first."""

    def __init__(self, size: int) -> None:
        self._entries: deque[T] = deque(maxlen=size)
        self.last = 0

    def append(self, make: Callable[[int], T]) -> T:
        """Add the entry that `make` returns for its number. If `make` adds one itself, it is called again."""
        while True:
            number = self.last + 1
            entry = make(number)
            if number == self.last + 1:
                self.last = number
                self._entries.append(entry)
                return entry

    def after(self, number: int) -> tuple[list[T], int]:
        """The entries after a number, the oldest first, and how many of them the ring has dropped.

        A negative number -n asks for the newest n entries, of which none is lost.
        """
        first = self.last - len(self._entries) + 1
        if number < 0:
            number = max(first - 1, self.last + number)
        lost = max(0, first - 1 - number)
        return list(islice(self._entries, max(0, number + 1 - first), None)), lost
