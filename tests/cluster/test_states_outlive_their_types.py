"""A state is read by other releases than the one that stored it; a row that cannot be read fails its grain only."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import pytest

from grange import Grain, GrainId, PersistentState, Renamed, StateUnreadable, StorageError, state_schema
from grange.proto.inspection import STORES, Stores
from grange.storage.memory import MemoryStorage
from grange.testing import TestCluster

KEYS = [f"k{number}" for number in range(8)]


@dataclass
class FirstLine:
    sku: str
    count: int = 1


@dataclass
class FirstState:
    name: str = ""
    lines: list[FirstLine] = field(default_factory=list)


class FirstCart(Grain, name="cart"):
    """The release that runs."""

    def __init__(self, state: PersistentState[FirstState]) -> None:
        self.state = state

    async def add(self, sku: str) -> None:
        self.state.value.lines.append(FirstLine(sku))
        await self.state.write()

    async def rename(self, name: str) -> None:
        self.state.value.name = name
        await self.state.write()

    async def read(self) -> dict[str, Any]:
        return {"name": self.state.value.name, "skus": [line.sku for line in self.state.value.lines]}

    async def reload(self) -> None:
        await self.state.read()

    async def clear(self) -> None:
        await self.state.clear()


@dataclass
class SecondLine:
    sku: str
    count: int = 1
    gift: bool = False


def _with_currency(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "currency": "eur"}


@state_schema(2, upgrades={1: _with_currency})
@dataclass
class SecondState:
    currency: str
    owner: Annotated[str, Renamed("name")] = ""
    lines: list[SecondLine] = field(default_factory=list)


class SecondCart(Grain, name="cart"):
    """The next release: a new field without a default, a renamed field, and a new field of each line."""

    def __init__(self, state: PersistentState[SecondState | None]) -> None:
        self.state = state

    async def add(self, sku: str) -> None:
        value = self.state.value or SecondState("usd")
        value.lines.append(SecondLine(sku, gift=True))
        self.state.value = value
        await self.state.write()

    async def rename(self, name: str) -> None:
        assert self.state.value is not None
        self.state.value.owner = name
        await self.state.write()

    async def read(self) -> dict[str, Any]:
        value = self.state.value
        assert value is not None
        gifts = [line.sku for line in value.lines if line.gift]
        skus = [line.sku for line in value.lines]
        return {"name": value.owner, "skus": skus, "gifts": gifts, "currency": value.currency}


def stored(cluster: TestCluster, key: str) -> dict[str, Any]:
    """What is stored of a cart, with its version."""
    assert isinstance(cluster.storage, MemoryStorage)
    record = cluster.storage._records[GrainId("cart", key), "state"]
    assert record.payload is not None
    return {**json.loads(record.payload), "version": record.schema}


def seed(cluster: TestCluster, key: str, payload: bytes, version: int = 1, state: str = "state") -> None:
    assert isinstance(cluster.storage, MemoryStorage)
    cluster.storage.seed(GrainId("cart", key), state, payload, version)


async def test_a_rolling_release_and_a_roll_back_lose_nothing() -> None:
    """SCE-06: silos of two releases take over each other's grains; all that was stored is there at the end."""
    async with TestCluster([FirstCart], silos=2) as cluster:
        for key in KEYS:
            await cluster.get_grain(FirstCart, key).add("apple")
            await cluster.get_grain(FirstCart, key).rename("ann")
        for old in list(cluster.silos):  # the release
            await cluster.add_silo(grains=[SecondCart])
            for key in KEYS:
                await cluster.get_grain(FirstCart, key).read()
            await cluster.stop(old)
        for key in KEYS:
            cart = cluster.get_grain(SecondCart, key)
            await cart.add("pear")
            assert await cart.read() == {
                "name": "ann", "skus": ["apple", "pear"], "gifts": ["pear"], "currency": "eur"
            }  # fmt: skip
            assert stored(cluster, key)["version"] == 2
        for new in list(cluster.silos):  # the roll back
            await cluster.add_silo(grains=[FirstCart])
            await cluster.stop(new)
        for key in KEYS:
            old_cart = cluster.get_grain(FirstCart, key)
            assert await old_cart.read() == {"name": "ann", "skus": ["apple", "pear"]}
            await old_cart.add("plum")
            await old_cart.rename("bob")
            row = stored(cluster, key)
            assert row["version"] == 2, "the row still has what the newer version stored"
            assert row["currency"] == "eur"
            assert row["lines"][1] == {"sku": "pear", "count": 1, "gift": True}
        for silo in list(cluster.silos):  # and forward again
            await cluster.add_silo(grains=[SecondCart])
            await cluster.stop(silo)
        for key in KEYS:
            assert await cluster.get_grain(SecondCart, key).read() == {
                "name": "bob", "skus": ["apple", "pear", "plum"], "gifts": ["pear"], "currency": "eur"
            }  # fmt: skip


async def test_a_grain_moves_between_releases_in_a_mixed_cluster() -> None:
    """SCE-06: its fields travel with it, although one of both releases does not know them."""
    async with TestCluster([FirstCart], silos=1) as cluster:
        newer = await cluster.add_silo(grains=[SecondCart])
        older = cluster.silos[0]
        manage = cluster.client.management
        cart = cluster.get_grain(FirstCart, "ann")
        await cart.add("apple")
        for number in range(4):
            to = newer if cluster.where(cart) is older else older
            await manage.move(cart, to.address, reason="a test")
            await cart.add(f"item{number}")
            assert cluster.where(cart) is to
        row = stored(cluster, "ann")
        assert [line["sku"] for line in row["lines"]] == ["apple", "item0", "item1", "item2", "item3"]
        assert sum(line.get("gift", False) for line in row["lines"]) >= 2
        assert row["currency"] in {"eur", "usd"}


async def test_a_cleared_state_starts_anew_in_the_version_of_its_silo() -> None:
    """A version of a newer release counts for what that release stored, not for a fresh value."""
    async with TestCluster([FirstCart], silos=1) as cluster:
        seed(cluster, "ann", b'{"name": "ann", "currency": "eur"}', 2)
        cart = cluster.get_grain(FirstCart, "ann")
        await cart.clear()
        await cart.add("apple")
        assert stored(cluster, "ann") == {"name": "", "lines": [{"sku": "apple", "count": 1}], "version": 1}


@pytest.mark.parametrize(
    ("payload", "version", "place"),
    [
        (b'{"name": "ann", "lin', 1, "$"),
        (b'{"name": "ann", "lines": [{"sku": 7}]}', 1, "$.lines[0].sku"),
        (b'{"name": "ann", "lines": {"a": 1}}', 3, "$.lines"),
        (b"[1, 2]", 1, "$"),
    ],
)
async def test_a_row_that_does_not_fit_fails_its_grain_only(
    payload: bytes, version: int, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F39: the caller gets a typed error, near and far; the row stays as it is, and operators are told."""
    async with TestCluster([FirstCart], silos=2) as cluster:
        seed(cluster, "bad", payload, version)
        for door in (cluster, *cluster.silos):
            with pytest.raises(StateUnreadable, match="does not fit its type") as caught:
                await door.get_grain(FirstCart, "bad").add("apple")
            error = caught.value
            assert (error.grain_type, error.key, error.state) == ("cart", "bad", "state")
            assert (error.stored, error.known) == (version, 1)
            assert isinstance(error, StorageError)
            await door.get_grain(FirstCart, "good").add("apple")
        assert isinstance(cluster.storage, MemoryStorage)
        assert cluster.storage._records[GrainId("cart", "bad"), "state"].payload == payload
        told = [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "state_unreadable"]
        assert told
        assert all(f"of cart/bad in storage 'default' does not fit its type at {place}," in text for text in told)


async def test_a_row_that_was_repaired_is_not_listed_any_more() -> None:
    """F39: the rows are listed until they can be read."""
    async with TestCluster([FirstCart], silos=1) as cluster:
        silo = cluster.silos[0]

        async def listed() -> list[str]:
            member = cluster.client.management._asked()[0]
            answer = await cluster.client.management._ask(member, STORES, b"", 5)
            found = msgspec.msgpack.decode(answer, type=Stores)
            return [row.subject for row in found.rows if row.remedy.endswith("state_unreadable.md")]

        seed(cluster, "bad", b"{", 4)
        with pytest.raises(StateUnreadable, match="It was stored by version 4, and this silo has version 1"):
            await cluster.get_grain(FirstCart, "bad").read()
        assert await listed() == ["state 'state' of cart/bad"]
        seed(cluster, "bad", b'{"name": "ann"}')
        await cluster.advance(30)
        assert (await cluster.get_grain(FirstCart, "bad").read())["name"] == "ann"
        assert await listed() == []
        assert silo.address


async def test_a_row_that_another_release_changed_is_refused_at_a_read() -> None:
    """A read within a turn fails typed, and memory keeps what it had."""
    async with TestCluster([FirstCart], silos=1) as cluster:
        cart = cluster.get_grain(FirstCart, "ann")
        await cart.rename("ann")
        seed(cluster, "ann", b'{"name": 7}', 2)
        with pytest.raises(StateUnreadable):
            await cart.reload()
