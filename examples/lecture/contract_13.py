"""Exercise 13, the contract: what client and silo share. It has no code of the grain."""

from __future__ import annotations

from grange import GrainInterface


class Hello(GrainInterface):
    """Greets."""

    async def greet(self, name: str) -> str:
        """A greeting for this name."""
        ...
