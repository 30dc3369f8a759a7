"""The silo that `grange dev` runs by default: one grain, for trying calls from the shell."""

from __future__ import annotations

from dataclasses import dataclass

from grange.grains.decorators import read_only
from grange.grains.grain import Grain
from grange.silo.silo import Silo
from grange.storage.states.state import PersistentState


@dataclass
class CounterState:
    """The state of a counter."""

    total: int = 0


class Counter(Grain[str], name="counter"):
    """A number that survives restarts: `grange call counter/ann add 5 --gateway 127.0.0.1:30000`."""

    def __init__(self, state: PersistentState[CounterState]) -> None:
        self.state = state

    async def add(self, amount: int = 1) -> int:
        """Add `amount`, store the new total, and return it."""
        self.state.value.total += amount
        await self.state.write()
        return self.state.value.total

    @read_only
    async def total(self) -> int:
        """The current total."""
        return self.state.value.total


silo = Silo(grains=[Counter])
