"""HiLo: numbers that are unique in the cluster, for one call of a grain per 1,000 of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from grange import Grain, PersistentState, transactional


@dataclass
class NextBlock:
    """The first number that was not given away."""

    first: int = 1


class Blocks(Grain, name="blocks"):
    """One sequence; its key is its name. It gives away whole blocks, and each block once."""

    def __init__(self, block: PersistentState[NextBlock]) -> None:
        self._block = block

    @transactional
    async def take(self, size: int) -> int:
        """The first of `size` numbers that belong to the caller. It is stored before it is answered."""
        if size < 1:
            raise ValueError(f"a block has at least one number, not {size}")
        first = self._block.value.first
        self._block.value.first = first + size
        return first


class Numbers:
    """The numbers of one process. A process that dies leaves a gap; a call without an answer, too. None comes twice."""

    def __init__(self, blocks: Blocks, size: int = 1_000) -> None:
        self._blocks = blocks
        self._size = size
        self._next = self._end = 0
        self._taking = asyncio.Lock()

    async def next(self) -> int:
        """The next number. Raises what a call raises; it may be repeated after any error."""
        while self._next == self._end:
            async with self._taking:  # one call for all that wait here
                if self._next == self._end:
                    first = await self._blocks.take(self._size)
                    self._next, self._end = first, first + self._size
        number = self._next
        self._next += 1
        return number
