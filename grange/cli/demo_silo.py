"""The silo that `grange dev` runs when no other is named: one grain, to try a call from the shell."""

from __future__ import annotations

from dataclasses import dataclass

from grange.grains.decorators import read_only
from grange.grains.grain import Grain
from grange.silo.silo import Silo
from grange.storage.state import PersistentState


@dataclass
class CounterState:
    """What a counter keeps."""

    total: int = 0


class Counter(Grain[str], name="counter"):
    """A number that survives restarts: `grange call counter/ann add 5`."""

    def __init__(self, state: PersistentState[CounterState]) -> None:
        self.state = state

    async def add(self, amount: int = 1) -> int:
        """Add, and return the new total once it is stored."""
        self.state.value.total += amount
        await self.state.write()
        return self.state.value.total

    @read_only
    async def total(self) -> int:
        """The total so far."""
        return self.state.value.total


silo = Silo(grains=[Counter])
