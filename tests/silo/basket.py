"""A grain that moves with its memory."""

from __future__ import annotations

import asyncio

from grange import Grain


class Basket(Grain, name="basket", placement="random"):
    """Keeps its items in memory only."""

    def __init__(self) -> None:
        self.items: list[str] = []

    async def add(self, item: str) -> list[str]:
        self.items.append(item)
        return self.items

    async def hold(self, seconds: float) -> list[str]:
        await asyncio.sleep(seconds)
        return await self.add("held")

    async def dehydrate(self) -> list[str]:
        return self.items

    async def rehydrate(self, memory: list[str]) -> None:
        self.items = memory
