"""Stored grains are listed by key, and found by the indexed fields of their state, from each side of a cluster."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from grange import (
    ConfigurationError,
    Grain,
    GrainId,
    Indexed,
    InvalidCall,
    NoSuchGrain,
    PersistentState,
    Stored,
    UniqueValueError,
)
from grange.storage.memory import MemoryStorage
from grange.storage.sets import IndexEntry
from grange.testing import TestCluster
from tests.cluster.plain_storage import PlainStorage

UTC = dt.UTC


class Level(enum.Enum):
    GOLD = "gold"
    PLAIN = "plain"


@dataclass
class CartState:
    owner: Annotated[str, Indexed()] = ""
    total: Annotated[int, Indexed()] = 0
    email: Annotated[str | None, Indexed(unique=True)] = None
    level: Annotated[Level, Indexed()] = Level.PLAIN
    paid: Annotated[bool, Indexed()] = False
    order: Annotated[uuid.UUID | None, Indexed()] = None
    due: Annotated[dt.datetime | None, Indexed()] = None
    lines: list[str] = field(default_factory=list)


class Cart(Grain, name="cart"):
    def __init__(self, state: PersistentState[CartState]) -> None:
        self.state = state

    async def set(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.state.value, name, value)
        await self.state.write()

    async def set_due(self, due: dt.datetime) -> None:
        self.state.value.due = due
        await self.state.write()

    async def set_order(self, order: uuid.UUID, level: Level) -> None:
        self.state.value.order, self.state.value.level = order, level
        await self.state.write()

    async def clear(self) -> None:
        await self.state.clear()

    async def find(self, owner: str) -> list[str]:
        return [cart.key async for cart in self.find_grains(Cart, {"owner": owner})]


class Plain(Grain, name="plain"):
    """A grain without state."""

    async def touch(self) -> None:
        """Do nothing."""


async def keys(found: Any) -> list[str]:
    return [each.key async for each in found]


async def test_grains_are_found_by_an_indexed_field_from_each_side() -> None:
    """QRY-01: by a client, a silo, its hosted client and a grain; the references can be called."""
    async with TestCluster([Cart], silos=2) as cluster:
        for number in range(6):
            await cluster.get_grain(Cart, f"c{number}").set({"owner": "ann" if number % 2 else "bob"})
        expected = ["c1", "c3", "c5"]
        for door in (cluster.client, *cluster.silos, cluster.silos[0].client):
            assert await keys(door.find_grains(Cart, {"owner": "ann"}, page=2)) == expected
        assert await cluster.get_grain(Cart, "c0").find("ann") == expected
        async for cart in cluster.client.find_grains(Cart, {"owner": "ann"}):
            await cart.set({"owner": "eve"})
        assert await keys(cluster.client.find_grains(Cart, {"owner": "ann"})) == []
        assert await keys(cluster.client.find_grains(Cart, {"owner": "eve"})) == expected


async def test_an_index_is_as_new_as_the_last_write() -> None:
    """QRY-02: a value is found when `write` has returned, under the new value only; a cleared state is not found."""
    async with TestCluster([Cart], silos=2) as cluster:
        cart = cluster.get_grain(Cart, "c")
        await cart.set({"owner": "ann", "total": 1})
        await cart.set({"owner": "bob"})
        assert await keys(cluster.client.find_grains(Cart, {"owner": "ann"})) == []
        assert await keys(cluster.client.find_grains(Cart, {"owner": "bob", "total": 1})) == ["c"]
        assert await keys(cluster.client.find_grains(Cart, {"owner": "bob", "total": 2})) == []
        await cart.clear()
        assert await keys(cluster.client.find_grains(Cart, {"owner": "bob"})) == []


async def test_grains_come_in_the_order_of_a_field() -> None:
    """QRY-03: by value, either way, equal values by key, and not more than asked for, over pages."""
    async with TestCluster([Cart], silos=2) as cluster:
        for key, total in {"a": 3, "b": 10, "c": 3, "d": -1}.items():
            await cluster.get_grain(Cart, key).set({"total": total, "owner": "ann"})

        async def ordered(**options: Any) -> list[str]:
            return await keys(cluster.client.find_grains(Cart, {"owner": "ann"}, order_by="total", **options))

        assert await ordered() == ["d", "a", "c", "b"]
        assert await ordered(page=1) == ["d", "a", "c", "b"]
        assert await ordered(descending=True, page=3) == ["b", "a", "c", "d"]
        assert await ordered(descending=True, limit=2) == ["b", "a"]
        assert await ordered(limit=0) == []
        assert await keys(cluster.client.find_grains(Cart, {}, order_by="total", limit=1)) == ["d"]
        assert await keys(cluster.client.find_grains(Cart, {"owner": "ann"}, limit=3, page=2)) == ["a", "b", "c"]


async def test_each_kind_of_value_is_found() -> None:
    """QRY-04: a bool, an enum, a UUID and a moment in any zone; None is in no index."""
    async with TestCluster([Cart], silos=1) as cluster:
        order, noon = uuid.uuid4(), dt.datetime(2026, 11, 29, 12, tzinfo=UTC)
        await cluster.get_grain(Cart, "a").set({"paid": True})
        await cluster.get_grain(Cart, "b").set_order(order, Level.GOLD)
        await cluster.get_grain(Cart, "c").set_due(noon)
        await cluster.get_grain(Cart, "d").set_due(noon - dt.timedelta(hours=13))
        ulm = dt.timezone(dt.timedelta(hours=1))
        for where, found in (
            ({"paid": True}, ["a"]),
            ({"level": Level.GOLD}, ["b"]),
            ({"order": order}, ["b"]),
            ({"due": noon.astimezone(ulm)}, ["c"]),
        ):
            assert await keys(cluster.client.find_grains(Cart, where)) == found  # type: ignore[arg-type]
        assert await keys(cluster.client.find_grains(Cart, {}, order_by="due")) == ["d", "c"]
        with pytest.raises(InvalidCall, match="due: None is in no index"):
            await keys(cluster.client.find_grains(Cart, {"due": None}))


async def test_a_unique_value_belongs_to_one_grain() -> None:
    """QRY-05: the caller of the second writer gets the error, and nothing of its write is stored."""
    async with TestCluster([Cart], silos=2) as cluster:
        await cluster.get_grain(Cart, "a").set({"email": "x@y"})
        for door in (cluster, *cluster.silos):
            with pytest.raises(UniqueValueError, match="email") as caught:
                await door.get_grain(Cart, "b").set({"email": "x@y", "owner": "eve"})
            assert caught.value.field == "email"
        assert await keys(cluster.client.find_grains(Cart, {"owner": "eve"})) == []
        await cluster.get_grain(Cart, "a").set({"email": "x@y", "total": 7})  # its own value again
        await cluster.get_grain(Cart, "a").set({"email": None})
        await cluster.get_grain(Cart, "b").set({"email": "x@y"})
        await cluster.get_grain(Cart, "c").set({"email": None})  # None is not a value


async def test_a_question_without_an_index_is_refused_by_name() -> None:
    """QRY-06: an unknown field, a value of another type, an option without effect, a class without state or silo."""
    async with TestCluster([Cart, Plain], silos=1) as cluster:
        client = cluster.client
        for where, options, message in (
            ({"lines": "a"}, {}, r"lines: no index of a state of 'cart'; indexed fields by state: state: owner, total"),
            ({"total": "many"}, {}, "total: Expected `int`, got `str`"),
            ({"level": "silver"}, {}, "level: Invalid enum value 'silver'"),
            ({}, {}, "where: name a field, or order_by"),
            ({"owner": "a"}, {"descending": True}, "descending: it has no effect without order_by"),
            ({"owner": "a"}, {"page": 5000}, "page=5000: 1 to 1000 grains"),
            ({"owner": "a"}, {"state": "other"}, "no such state"),
        ):
            with pytest.raises(InvalidCall, match=message):
                await keys(client.find_grains(Cart, where, **options))  # type: ignore[arg-type]
        with pytest.raises(InvalidCall, match="grains of type 'plain' have no state"):
            await keys(client.list_grains(Plain))

        class Absent(Grain, name="absent"):
            """No silo hosts it."""

        with pytest.raises(NoSuchGrain, match="no active silo hosts grain type 'absent'"):
            await keys(client.list_grains(Absent))


class Two(Grain, name="two"):
    """Several states in two stores, with a field of one name."""

    def __init__(
        self,
        first: PersistentState[CartState],
        second: Annotated[PersistentState[CartState], Stored("more", provider="other")],
    ) -> None:
        self.first, self.second = first, second

    async def set(self, first: str, second: str) -> None:
        if first:
            self.first.value.owner = first
            await self.first.write()
        if second:
            self.second.value.owner = second
            await self.second.write()


async def test_stored_grains_are_listed_with_their_states_and_where_they_are_active() -> None:
    """QRY-07: every grain once, in the order of keys, over pages and over several stores; those with a prefix."""
    async with TestCluster([Two, Plain], silos=2, storages={"other": MemoryStorage()}) as cluster:
        client = cluster.client
        for number in range(12):
            await cluster.get_grain(Two, f"k{number:02}").set("a" if number % 3 else "", "b" if number % 2 else "")
        expected = {
            f"k{number:02}": tuple(name for name, stored in (("first", number % 3), ("more", number % 2)) if stored)
            for number in range(12)
            if number % 3 or number % 2
        }
        for page in (1, 2, 5, 100):
            found = [each async for each in client.list_grains(Two, page=page)]
            assert {each.key: each.states for each in found} == expected
            assert [each.key for each in found] == sorted(expected)
        assert await keys(client.list_grains(Two, prefix="k1")) == ["k10", "k11"]
        await client.management.deactivate(Two, reason="a test")
        await cluster.get_grain(Two, "k01").set("c", "d")
        where = {each.key: each.silo async for each in client.list_grains(Two, locate=True)}
        home = cluster.where(cluster.get_grain(Two, "k01"))
        assert home is not None
        assert where.pop("k01") == home.address
        assert set(where.values()) == {None}
        with pytest.raises(InvalidCall, match=r"where: no field is named.* first, more; .*list_grains"):
            await keys(client.find_grains(Two, {}))
        with pytest.raises(InvalidCall, match="state: several have these fields: first, more; name one"):
            await keys(client.find_grains(Two, {"owner": "b"}))
        assert (await keys(client.find_grains(Two, {"owner": "b"}, state="more")))[0] == "k03"


async def test_states_that_a_class_had_once_hide_no_grain() -> None:
    """QRY-07: more rows of one grain than its class has states fill a page of one store, and not that of the other."""
    other = MemoryStorage()
    async with TestCluster([Two], silos=1, storages={"other": other}) as cluster:
        assert isinstance(cluster.storage, MemoryStorage)
        for old in ("old1", "old2", "old3"):
            cluster.storage.seed(GrainId("two", "a"), old, b"{}")
        cluster.storage.seed(GrainId("two", "aa"), "first", b"{}")
        other.seed(GrainId("two", "b"), "more", b"{}")
        for page in (1, 2, 3, 100):
            assert await keys(cluster.client.list_grains(Two, page=page)) == ["a", "aa", "b"]


@dataclass
class Inner:
    sku: Annotated[str, Indexed()] = ""


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)


@dataclass
class Listed:
    tags: Annotated[list[str], Indexed()] = field(default_factory=list)


@pytest.mark.parametrize(
    ("kind", "storage", "message"),
    [
        (Outer, None, r"Indexed\(\) has no effect on Inner.sku, because only fields of the state's own class"),
        (Listed, None, "Listed.tags cannot be indexed, because it is a list"),
        (CartState, PlainStorage(), r"Indexed\(\) of 'owner' has no effect, because the storage 'default' keeps no"),
    ],
)
async def test_an_index_that_cannot_be_kept_stops_the_start(kind: Any, storage: Any, message: str) -> None:
    """QRY-08: a nested field, a type without an order, a store without indexes."""

    class Wrong(Grain, name="wrong"):
        def __init__(self, state: PersistentState[kind]) -> None:
            self.state = state

    Wrong.__init__.__annotations__["state"] = PersistentState[kind]
    with pytest.raises(ConfigurationError, match=message):
        async with TestCluster([Wrong], silos=1, storage=storage):
            pass


async def test_what_has_no_place_in_an_order_is_not_written() -> None:
    """A moment without a zone, and an integer that no number column holds exactly, are refused with their field."""
    async with TestCluster([Cart], silos=1) as cluster:
        with pytest.raises(Exception, match="the indexed field 'due': an index needs a datetime with a time zone"):
            await cluster.get_grain(Cart, "a").set_due(dt.datetime(2026, 11, 29))
        with pytest.raises(Exception, match=r"the indexed field 'total': an index holds integers up to 2\*\*53"):
            await cluster.get_grain(Cart, "b").set({"total": 2**60})
        assert await keys(cluster.client.list_grains(Cart)) == []


async def test_the_index_is_part_of_the_write() -> None:
    """QRY-02: one change carries the state and its index, so that a crash leaves both or none."""
    async with TestCluster([Cart], silos=1) as cluster:
        await cluster.get_grain(Cart, "a").set({"owner": "ann", "total": 3})
        assert isinstance(cluster.storage, MemoryStorage)
        assert set(cluster.storage._indexes[GrainId("cart", "a"), "state"]) == {
            IndexEntry("owner", "ann"), IndexEntry("total", 3.0), IndexEntry("level", "plain"), IndexEntry("paid", 0.0)
        }  # fmt: skip
