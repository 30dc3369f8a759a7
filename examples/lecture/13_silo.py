"""Exercise 13, the silo: a process of its own. `grange run examples.lecture.13_silo:silo` runs it.

It implements the contract. The client never imports this file, so it may be changed and restarted without the client.
"""

from __future__ import annotations

from examples.lecture.contract_13 import Hello
from grange import Grain
from grange.silo import Silo


class HelloGrain(Grain, Hello):
    """One greeter. It remembers how many it has greeted."""

    def __init__(self) -> None:
        self.greeted = 0

    async def greet(self, name: str) -> str:
        """Hello.greet: with a number."""
        self.greeted += 1
        return f"Hello {name}, you are number {self.greeted} of {self.key}"


silo = Silo(grains=[HelloGrain])
