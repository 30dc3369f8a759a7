# mypy: disable-error-code="empty-body"
"""A contract apart from its code. mypy needs the line above for bodies of `...`; pyright does not."""

from __future__ import annotations

from collections.abc import AsyncIterator

from grange import GrainInterface


class CartApi(GrainInterface, version=1):
    async def add(self, sku: str, quantity: int = 1) -> int: ...
    def items(self) -> AsyncIterator[str]: ...
