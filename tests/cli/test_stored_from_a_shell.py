"""`grange stored`: stored grains by key, and by indexed fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from grange import Grain, Indexed, PersistentState
from grange.silo.silo import Silo
from tests.cli.shell import Shell


@dataclass
class CartState:
    owner: Annotated[str, Indexed()] = ""
    total: Annotated[int, Indexed()] = 0


class Cart(Grain, name="cart"):
    def __init__(self, state: PersistentState[CartState]) -> None:
        self.state = state

    async def set(self, owner: str, total: int) -> None:
        self.state.value = CartState(owner, total)
        await self.state.write()


async def test_stored_grains_are_listed_and_found(tmp_path: Path) -> None:
    """QRY-01, QRY-07: as tables and as JSON, page by page, without a role, from SQLite."""
    options = {"port": 0, "gateway_port": 0, "data": tmp_path, "name": "one", "admin_token": "a-secret-of-admins"}
    async with Silo([Cart], **options) as silo:
        for key, owner, total in (("a1", "ann", 3), ("a2", "bob", 9), ("b1", "ann", 7)):
            await silo.get_grain(Cart, key).set(owner, total)
        grange = Shell(silo)  # without a token
        listed = await grange.json("stored", "cart", "--prefix", "a", "--locate")
        address = str(silo.address)
        assert listed == {
            "type": "cart",
            "grains": [
                {"key": "a1", "states": ["state"], "silo": address},
                {"key": "a2", "states": ["state"], "silo": address},
            ],
            "cursor": "",
        }
        first = await grange("stored", "cart", "--limit", "2")
        assert "cart/a2" in first.output
        assert "cart/b1" not in first.output
        assert "more: --cursor a2" in first.output
        assert "cart/b1" in (await grange("stored", "cart", "--cursor", "a2")).output
        found = await grange.json("stored", "cart", "--where", "owner=ann", "--order-by", "total", "--descending")
        assert [each["key"] for each in found["grains"]] == ["b1", "a1"]
        found = await grange.json("stored", "cart", "--where", "owner=ann", "--where", "total=3")
        assert [each["key"] for each in found["grains"]] == ["a1"]
        for words, code, message in (
            (("stored", "cart", "--where", "lines=a"), 1, "lines: no index of a state of 'cart'"),
            (("stored", "cart", "--where", "owner"), 2, "write FIELD=VALUE"),
            (("stored", "cart", "--descending"), 2, "--descending has no effect without"),
            (("stored", "cart", "--where", "owner=a", "--locate"), 2, "--locate has no effect with"),
            (("stored", "carts"), 1, "no silo hosts 'carts'; the types are: cart"),
        ):
            result = await grange(*words)
            assert result.exit_code == code, result.output
            assert message in result.output
