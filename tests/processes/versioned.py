"""Two releases of one grain: `grange run tests.processes.versioned:first`, and `:second`."""

from __future__ import annotations

from grange import Grain, GrainInterface
from grange.silo import Silo


class Version1(GrainInterface, name="cart_api", version=1):
    async def answer(self) -> int: ...


class Version2(GrainInterface, name="cart_api", version=2):
    async def answer(self) -> int: ...

    async def added(self) -> str: ...


class Cart1(Grain, Version1, name="cart"):
    async def answer(self) -> int:
        return 1


class Cart2(Grain, Version2, name="cart"):
    async def answer(self) -> int:
        return 2

    async def added(self) -> str:
        return "the new method"


class Extra(Grain, name="extra"):
    """A class that only the second release has."""

    async def ping(self) -> str:
        return "pong"


first = Silo(grains=[Cart1])
second = Silo(grains=[Cart2, Extra])
