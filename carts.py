# carts.py
from dataclasses import dataclass, field
from typing import Annotated

from grange import Grain, Indexed, PersistentState


@dataclass
class CartState:
    owner: Annotated[str, Indexed()] = ""
    total: Annotated[int, Indexed()] = 0
    code: Annotated[str | None, Indexed(unique=True)] = None
    lines: list[str] = field(default_factory=list)


class Cart(Grain, name="cart"):
    def __init__(self, state: PersistentState[CartState]) -> None:
        self.state = state

    async def open(self, owner: str, code: str | None = None) -> None:
        self.state.value.owner, self.state.value.code = owner, code
        await self.state.write()

    async def add(self, sku: str, price: int) -> int:
        value = self.state.value
        value.lines.append(sku)
        value.total += price
        await self.state.write()
        return value.total

    async def others(self) -> list[str]:
        mine = {"owner": self.state.value.owner}
        return [cart.key async for cart in self.find_grains(Cart, mine) if cart != self.reference]
