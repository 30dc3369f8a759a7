"""A silo with grains that call each other, for `grange run`."""

from __future__ import annotations

import os

from grange import DeadlockError, Grain, allow_reentrancy
from grange.silo import Silo


class Hop(Grain):
    """Calls the next grain of a route."""

    async def go(self, route: list[str], allowing: bool) -> str:
        """Follow the route. Returns the cycle, if a call at its end was refused for one, else the last key."""
        if not route:
            return self.key
        following = self.get_grain(Hop, route[0])
        try:
            if not allowing:
                return await following.go(route[1:], False)
            with allow_reentrancy():
                return await following.go(route[1:], True)
        except DeadlockError as error:
            return " -> ".join(f"{grain}.{method}" for grain, method in error.cycle)

    async def pid(self) -> int:
        """The process of this grain."""
        return os.getpid()


silo = Silo(grains=[Hop])
