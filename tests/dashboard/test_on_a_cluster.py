"""The dashboard of a real cluster on a memory network: what its silos answer is what the pages get."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from grange import Grain, Indexed, PersistentState
from grange.proto.acts import Level
from grange.testing.cluster import TestCluster
from tests.dashboard.shown import dashboard_of, logged_in


@dataclass
class Basket:
    apples: int = 0
    password: str = ""


class Cart(Grain):
    """One shopping cart."""

    def __init__(self, state: PersistentState[Basket]) -> None:
        self.state = state

    async def add(self, apples: int) -> int:
        """Put apples into the cart."""
        self.state.value.apples += apples
        await self.state.write()
        return self.state.value.apples

    async def hold(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def test_activations_are_found_shown_and_deactivated() -> None:
    async with TestCluster([Cart], silos=2) as cluster, dashboard_of(cluster) as dashboard:
        for number in range(20):
            await cluster.get_grain(Cart, f"customer-{number:02}").add(number)
        browser = await logged_in(dashboard, Level.OPERATOR)
        found = (await browser.get("/api/activations?type=cart&prefix=customer-1&limit=4")).json
        assert [row["key"] for row in found["rows"]] == [f"customer-{number}" for number in (10, 11, 12, 13)]
        assert (found["matches"], found["total"], found["cut"], found["silent"]) == (10, 20, [], [])
        url = f"/api/activations?type=cart&prefix=customer-1&limit=4&cursor={found['cursor']}"
        assert [row["key"] for row in (await browser.get(url)).json["rows"]][:1] == ["customer-14"]
        detail = (await browser.get("/api/activation?type=cart&key=customer-03")).json
        host = cluster.where(cluster.get_grain(Cart, "customer-03"))
        assert host is not None
        assert (detail["silo"], detail["address"], detail["states"]) == (host.name, str(host.address), ["state"])
        assert detail["directory"] == str(host.address)
        state = (await browser.get("/api/state?type=cart&key=customer-03&name=state")).json
        assert '"apples":3' in state["json"].replace(" ", "")
        schema = (await browser.get("/api/types/cart")).json
        assert [method["name"] for method in schema["methods"]] == ["add", "hold"]
        question = {"action": "deactivate", "target": "cart/customer-03"}
        preview = (await browser.post("/api/act", {**question, "preview": True})).json
        assert (preview["outcome"], preview["count"]) == ("previewed", 1)
        done = (await browser.post("/api/act", {**question, "reason": "test", "expect": preview["expect"]})).json
        assert done["outcome"] == "done", done
        assert (await browser.get("/api/activation?type=cart&key=customer-03")).status == 404
        rows = (await browser.get("/api/audit")).json["rows"]
        assert {row["actor"] for row in rows} == {"token:operator by token:admin"}
        assert {row["reason"] for row in rows} == {"test"}


async def test_an_expectation_of_an_earlier_activation_is_refused_with_409() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        await cluster.get_grain(Cart, "ann").add(1)
        question = {"action": "deactivate", "target": "cart/ann"}
        preview = (await browser.post("/api/act", {**question, "preview": True})).json
        await browser.post("/api/act", {**question, "reason": "first"})
        await cluster.get_grain(Cart, "ann").add(1)
        reply = await browser.post("/api/act", {**question, "reason": "second", "expect": preview["expect"]})
        assert (reply.status, reply.json["error"]["field"]) == (409, "expect")
        assert cluster.count() == 1


async def test_a_stuck_turn_is_on_the_page_of_its_silo() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        call = asyncio.create_task(cluster.get_grain(Cart, "ann").hold(20))
        await cluster.advance(5)
        stuck = (await browser.get("/api/silos/silo-1")).json["stuck"]
        assert [(turn["key"], turn["method"]) for turn in stuck] == [("ann", "hold")]
        assert any("hold" in line for line in stuck[0]["stack"])
        assert stuck[0]["seconds"] >= 4
        await call


async def test_a_killed_silo_is_silent_until_it_is_declared_dead() -> None:
    async with TestCluster([Cart], silos=3) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=silos") as stream:
            await stream.next("tick")
            await cluster.kill(cluster.silos[-1])
            while not (tick := (await stream.next("tick")).data)["head"]["silos"]["silent"]:
                pass
            row = next(row for row in tick["silos"] if row["name"] == "silo-3")
            assert row["problem"]
            assert tick["points"]["activations/silo-3"] is None
            while len((tick := (await stream.next("tick")).data)["silos"]) == 3:
                pass
            assert tick["head"]["silos"]["dead"] == 1
        ring = (await browser.get("/api/ring")).json["arcs"]
        assert {arc["silo"] for arc in ring} == {"silo-1", "silo-2"}
        assert abs(sum(arc["to"] - arc["from"] for arc in ring) - 1) < 0.001


async def test_the_history_is_bounded_and_kept_by_silo_and_method() -> None:
    """HST-07: 15 minutes by the second at most, of each silo and each method."""
    async with TestCluster([Cart], silos=2) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        for round in range(102):
            await cluster.get_grain(Cart, "ann").hold(0)
            await asyncio.gather(*(cluster.get_grain(Cart, f"{number}").add(1) for number in range(round % 9)))
            await cluster.advance(10)
        for view, names in (("silos", ("calls/silo-1", "calls/silo-2")), ("type/cart", ("calls/add", "calls/hold"))):
            async with browser.stream(f"/api/live?view={view}") as stream:
                series = (await stream.next("hello")).data["series"]
            for name in names:
                _, _, values = series[name]
                assert 850 <= len(values) <= 900, name
        assert len({value for value in series["calls/add"][2] if value}) > 3


async def test_the_calls_of_a_cluster_are_in_the_charts() -> None:
    async with TestCluster([Cart], silos=2) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=overview") as stream:
            await stream.next("tick")
            for number in range(50):
                await cluster.get_grain(Cart, f"customer-{number}").add(1)
            tick = (await stream.next("tick")).data
            assert tick["points"]["calls_ok"] >= 40
            share = tick["top"]["share"][0]
            assert (share["type"], share["method"]) == ("cart", "add")


async def test_stored_grains_are_listed_found_and_shown() -> None:
    """QRY-01, QRY-07: also those that are not active, whose state is shown, too."""
    async with TestCluster([Shelf], silos=2) as cluster, dashboard_of(cluster) as dashboard:
        for number in range(5):
            await cluster.get_grain(Shelf, f"s{number}").put("ann" if number % 2 else "bob", number)
        browser = await logged_in(dashboard)
        await cluster.client.management.deactivate(Shelf, reason="a test")
        await cluster.get_grain(Shelf, "s1").put("ann", 1)
        host = cluster.where(cluster.get_grain(Shelf, "s1"))
        assert host is not None
        page = (await browser.get("/api/stored?type=shelf&limit=2")).json
        assert page["rows"] == [
            {"key": "s0", "states": ["state"], "silo": ""},
            {"key": "s1", "states": ["state"], "silo": host.name},
        ]
        rest = (await browser.get(f"/api/stored?type=shelf&cursor={page['cursor']}")).json
        assert [row["key"] for row in rest["rows"]] == ["s2", "s3", "s4"]
        found = (await browser.get("/api/stored?type=shelf&where=owner=ann&order_by=weight&descending=true")).json
        assert [row["key"] for row in found["rows"]] == ["s3", "s1"]
        state = (await browser.get("/api/state?type=shelf&key=s4")).json
        assert state["rows"][0]["loaded"] is False
        assert '"weight":4' in state["rows"][0]["json"].replace(" ", "")
        for query, field in (("where=colour=red", "colour"), ("where=owner", "where"), ("limit=0", "limit")):
            reply = await browser.get(f"/api/stored?type=shelf&{query}")
            assert (reply.status, reply.json["error"]["field"]) == (400, field)
        assert (await browser.get("/api/stored?type=nothing")).status == 404


@dataclass
class ShelfState:
    owner: Annotated[str, Indexed()] = ""
    weight: Annotated[int, Indexed()] = 0


class Shelf(Grain):
    """A shelf with an owner."""

    def __init__(self, state: PersistentState[ShelfState]) -> None:
        self.state = state

    async def put(self, owner: str, weight: int) -> None:
        self.state.value = ShelfState(owner, weight)
        await self.state.write()
