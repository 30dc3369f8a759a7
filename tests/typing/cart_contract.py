# mypy: disable-error-code="empty-body"
"""A contract apart from its code. mypy needs the line above for bodies of `...`; pyright does not."""

from __future__ import annotations

from grange import GrainInterface


class CartApi(GrainInterface, version=1):
    async def add(self, sku: str, quantity: int = 1) -> int: ...
