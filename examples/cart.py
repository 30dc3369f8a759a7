"""The smallest application: one grain class and the silo that hosts it. `grange dev examples.cart:silo` runs it."""

from __future__ import annotations

from dataclasses import dataclass, field

from grange import Grain, PersistentState, read_only
from grange.silo import Silo


@dataclass
class CartState:
    """The state of one cart: quantities by item."""

    items: dict[str, int] = field(default_factory=dict)


class Cart(Grain, name="cart", idle_timeout=600):
    """One shopping cart. Its key is the customer id."""

    def __init__(self, state: PersistentState[CartState]) -> None:
        self.state = state

    async def add(self, sku: str, quantity: int = 1) -> int:
        """Add items; returns the new quantity of this item."""
        items = self.state.value.items
        items[sku] = items.get(sku, 0) + quantity
        await self.state.write()
        return items[sku]

    @read_only
    async def count(self) -> int:
        """The number of items in the cart."""
        return sum(self.state.value.items.values())


silo = Silo(grains=[Cart])
