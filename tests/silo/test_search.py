"""The search among the activations of a silo: filters, orders, pages, limits, and slices."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import Grain
from grange.errors import GrangeError, InvalidCall, Overloaded
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.proto.ids import GrainId
from grange.proto.inspection import FIND, MAX_ROWS, FindActivations, FoundActivations
from grange.proto.management import encode
from grange.runtime.activations.phase import Phase
from grange.silo import inspection
from grange.silo.search import SORTS, Search
from grange.testing import TestCluster

NOW = 1000.0


class Cart(Grain):
    async def hold(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)


class Order(Grain):
    async def touch(self) -> None: ...


def activation(number: int, key: str = "", **facts: Any) -> Any:
    """An activation as far as a search looks at it; it began `age` seconds ago."""
    age = facts.pop("age", 0)
    deps = SimpleNamespace(age=lambda number, now: now - (number >> 80) / 1000)
    values: dict[str, Any] = {
        "grain_id": GrainId(facts.pop("type", "cart"), key or f"key-{number}"),
        "activation_id": int((NOW - age) * 1000) << 80 | number,
        "phase": Phase.ACTIVE,
        "last_used": NOW,
        "waiting": (),
        "running": (),
        "deps": deps,
    }
    return SimpleNamespace(**{**values, **facts})


def found(activations: list[Any], **filters: Any) -> list[str]:
    search = Search(FindActivations(**filters), NOW)
    search.look(activations)
    return [row.grain_id.key for row in search.rows()[0]]


def turn(began: float) -> Any:
    return SimpleNamespace(started_at=began, entered=True)


SOME = [
    activation(1, "ann", age=50, last_used=NOW - 40),
    activation(2, "bob", age=10, waiting=("a", "b")),
    activation(3, "anna", type="order", age=99, running=(turn(NOW - 7),)),
    activation(4, "cy", phase=Phase.CLOSING, running=(turn(NOW - 1),)),
]


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        ({}, ["ann", "bob", "cy", "anna"]),  # by type, then by key
        ({"type": "cart"}, ["ann", "bob", "cy"]),
        ({"prefix": "ann"}, ["ann", "anna"]),
        ({"contains": "n"}, ["ann", "anna"]),
        ({"phase": "deactivating"}, ["cy"]),
        ({"min_age": 50}, ["ann", "anna"]),
        ({"min_idle": 30}, ["ann"]),
        ({"min_waiting": 2}, ["bob"]),
        ({"min_turn": 5}, ["anna"]),
        ({"sort": "age"}, ["anna", "ann", "bob", "cy"]),
        ({"sort": "idle", "limit": 1}, ["ann"]),
        ({"sort": "waiting", "limit": 1}, ["bob"]),
        ({"sort": "turn", "limit": 2}, ["anna", "cy"]),
    ],
)
def test_filters_and_orders(filters: dict[str, Any], keys: list[str]) -> None:
    assert found(SOME, **filters) == keys


@pytest.mark.parametrize(
    "filters",
    [
        {"min_age": -1.0}, {"min_idle": float("nan")}, {"min_turn": float("inf")}, {"min_waiting": -1},
        {"phase": "asleep"}, {"sort": "size"}, {"limit": 0}, {"limit": MAX_ROWS + 1}, {"cursor": "x"},
        {"prefix": "a" * 5000}, {"contains": "a" * 5000}, {"type": "a" * 5000},
    ],
)  # fmt: skip
def test_a_bad_filter_is_refused_by_name(filters: dict[str, Any]) -> None:
    (name,) = filters
    with pytest.raises(InvalidCall, match=f"^{name}: "):
        Search(FindActivations(**filters), NOW)


def test_a_cursor_may_be_as_long_as_a_filter_and_no_longer() -> None:
    for name in ("cursor", "prefix"):
        with pytest.raises(InvalidCall, match=f"^{name}: at most 4096 characters"):
            Search(FindActivations(**{name: "a" * 4097}), NOW)  # type: ignore[arg-type]
    with pytest.raises(InvalidCall, match=r"^cursor: it is not that of a page before"):
        Search(FindActivations(cursor="a" * 4096), NOW)
    Search(FindActivations(prefix="a" * 4096), NOW)


def test_a_cursor_of_another_order_is_refused() -> None:
    search = Search(FindActivations(sort="age", limit=1), NOW)
    search.look(SOME)
    cursor = search.rows()[1]
    with pytest.raises(InvalidCall, match=r"^cursor: it belongs to the order 'age'"):
        Search(FindActivations(sort="idle", cursor=cursor), NOW)


KEYS = st.sampled_from("abcdef")
STEADY = st.lists(st.tuples(KEYS, st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)
MOVING = st.lists(st.lists(st.tuples(KEYS, st.integers(0, 4), st.integers(0, 4)), max_size=5), max_size=20)


@given(STEADY, MOVING, st.sampled_from(sorted(SORTS)), st.integers(1, 4))
def test_pages_neither_repeat_nor_skip_what_stays(steady: Any, moving: Any, sort: str, limit: int) -> None:
    """Between two pages other activations come and go: workers of one grain have equal keys, too."""

    def make(numbers: Any, first: int) -> list[Any]:
        return [
            activation(first + number, key, age=age, last_used=NOW - idle, waiting=("x",) * idle)
            for number, (key, age, idle) in enumerate(numbers)
        ]

    stays = make(steady, 0)
    seen: list[int] = []
    cursor, number = "", 0
    while True:
        others = make(moving[number], 1000 * (number + 1)) if number < len(moving) else []
        search = Search(FindActivations(sort=sort, limit=limit, cursor=cursor), NOW + number)
        search.look([*others, *stays])
        best = [each[-1] for each in search._best[:limit]]
        seen += [each.activation_id for each in best if any(each is other for other in stays)]
        cursor, number = search.rows()[1], number + 1
        if not cursor:
            break
    assert sorted(seen) == sorted(each.activation_id for each in stays)


# --- in a silo --------------------------------------------------------------------------------------------------------


async def ask(cluster: TestCluster, question: FindActivations) -> FoundActivations:
    answer = await cluster.client.ask(cluster.client.gateways[0], FIND, encode(question))
    return msgspec.msgpack.decode(answer, type=FoundActivations)


async def test_a_silo_finds_its_activations() -> None:
    async with TestCluster([Cart, Order], silos=1) as cluster:
        await cluster.get_grain(Order, "a").touch()
        await cluster.advance(10)
        calls = [asyncio.create_task(cluster.get_grain(Cart, "a").hold(5)) for _ in range(3)]
        await cluster.advance(1)
        (cart,) = (await ask(cluster, FindActivations("cart"))).rows
        assert (str(cart.grain_id), cart.phase, cart.running, cart.waiting) == ("cart/a", "active", 1, 2)
        assert (cart.turn, cart.age) == pytest.approx((1, 1), abs=0.1)
        everything = await ask(cluster, FindActivations())
        (order,) = (row for row in everything.rows if row.grain_id.type == "order")
        assert (order.age, order.idle) == pytest.approx((11, 11), abs=0.1)
        assert (everything.matches, everything.looked_at, everything.total, everything.cut) == (2, 2, 2, False)
        await asyncio.gather(*calls)


async def test_a_search_visits_all_pages() -> None:
    async with TestCluster([Order], silos=1) as cluster:
        for key in range(7):
            await cluster.get_grain(Order, str(key)).touch()
        first = await ask(cluster, FindActivations(limit=4))
        second = await ask(cluster, FindActivations(limit=4, cursor=first.cursor))
        assert [row.grain_id.key for row in (*first.rows, *second.rows)] == list("0123456")
        assert (first.matches, second.matches, second.cursor) == (7, 7, "")


async def test_a_search_ends_at_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MOST_LOOKED_AT", 5)
    async with TestCluster([Order], silos=1) as cluster:
        for key in range(7):
            await cluster.get_grain(Order, str(key)).touch()
        answer = await ask(cluster, FindActivations())
        assert (answer.looked_at, answer.total, answer.cut) == (5, 7, True)


async def test_grains_that_come_during_a_search_do_not_count_as_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "SLICE", 2)
    async with TestCluster([Order], silos=1) as cluster:
        for key in range(7):
            await cluster.get_grain(Order, str(key)).touch()
        answer, _ = await asyncio.gather(
            cluster.silos[0].inspection.find(FindActivations()), cluster.silos[0].get_grain(Order, "late").touch()
        )
        assert (answer.looked_at, answer.total, answer.cut) == (7, 8, False)


async def test_the_loop_runs_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "SLICE", 2)
    async with TestCluster([Order], silos=1) as cluster:
        for key in range(7):
            await cluster.get_grain(Order, str(key)).touch()
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        await cluster.silos[0].inspection.find(FindActivations())
        counter.cancel()
        assert turns >= 4


async def test_the_latest_search_replaces_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "SLICE", 2)
    async with TestCluster([Order], silos=1) as cluster:
        for key in range(7):
            await cluster.get_grain(Order, str(key)).touch()
        find = cluster.silos[0].inspection.find
        older, newer = await asyncio.gather(find(FindActivations()), find(FindActivations()), return_exceptions=True)
        assert isinstance(older, Overloaded)
        assert isinstance(newer, FoundActivations)
        assert newer.matches == 7


async def test_an_activation_that_ends_during_a_search_is_not_a_reason_to_skip_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inspection, "SLICE", 2)
    async with TestCluster([Order], silos=1) as cluster:
        for key in range(9):
            await cluster.get_grain(Order, str(key)).touch()
        silo = cluster.silos[0]
        search = asyncio.create_task(silo.inspection.find(FindActivations()))
        await asyncio.sleep(0)  # the first slice
        for each in list(silo.catalog.activations())[:4]:
            each.deactivate(DeactivationReason(DeactivationCode.OPERATOR, "a test"))
        rows = (await search).rows
        assert {row.grain_id.key for row in rows} >= set("45678")


async def test_a_bad_filter_is_an_error_for_its_sender() -> None:
    async with TestCluster([Order], silos=1) as cluster:
        with pytest.raises(GrangeError, match="limit: 1 to 200, not 0"):
            await ask(cluster, FindActivations(limit=0))
