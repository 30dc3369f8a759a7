"""The figures of all silos: rates, sums, gaps; a silo that is late, dead or of another version."""

from __future__ import annotations

import asyncio

from grange.testing.loop import VirtualTime
from tests.dashboard.fakes import FakeCluster, shown
from tests.dashboard.shown import logged_in


async def test_rates_and_quantiles_are_those_of_all_silos_together(time: VirtualTime) -> None:
    cluster = FakeCluster()
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=overview") as stream:
            await stream.next("tick")
            cluster.silos[0].call(30, 0.004, failed=6)
            cluster.silos[1].call(10, 0.4)
            points = (await stream.next("tick")).data["points"]
            assert (points["calls_ok"], points["calls_failed"], points["calls_refused"]) == (34, 6, 0)
            assert 0.0025 <= points["p50"] <= 0.005
            assert 0.25 <= points["p99"] <= 0.5
            assert (await stream.next("tick")).data["points"]["calls_ok"] == 0, "rates fall to 0"


async def test_the_charts_of_a_new_page_begin_with_the_past(time: VirtualTime) -> None:
    cluster = FakeCluster(silos=1)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        for _ in range(6):
            cluster.silos[0].call(100, 0.001)
            await time.advance(10)
        async with browser.stream("/api/live?view=overview") as stream:
            hello = (await stream.next("hello")).data
            start, step, values = hello["series"]["calls_ok"]
            assert step == 1
            assert start + (len(values) - 1) * 1000 <= hello["now"]
            known = [value for value in values if value is not None]
            assert len(known) >= 49
            assert set(known) == {10.0}


async def test_a_silent_silo_keeps_its_row_with_its_age_and_leaves_every_sum(time: VirtualTime) -> None:
    cluster = FakeCluster()
    for silo in cluster.silos:
        silo.fill("cart", 5)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=silos") as stream:
            await stream.next("tick")
            tick = (await stream.next("tick")).data
            assert tick["head"]["activations"] == 10
            cluster.silos[0].is_dead = True
            for _ in range(3):
                tick = (await stream.next("tick")).data
            first, second = tick["silos"]
            assert first["activations"] == 5, "the last figures stay on its row"
            assert first["problem"] == "connection refused"
            assert 2 <= first["age"] <= 4
            assert first["calls"] is None, "a rate of old figures would look like a rate of now"
            assert second["age"] < 1
            assert tick["points"]["activations/silo-1"] is None
            assert tick["points"]["calls/silo-1"] is None
            assert tick["points"]["activations/silo-2"] == 5
            assert tick["head"]["silos"]["silent"] == 1
            assert tick["head"]["activations"] == 5
            assert tick["head"]["alarms"] == 1
            cluster.silos[0].is_dead = False
            first = (await stream.next("tick")).data["silos"][0]
            assert (first["problem"], first["age"] < 1) == ("", True)


async def test_a_slow_silo_does_not_hold_up_the_others(time: VirtualTime) -> None:
    cluster = FakeCluster()
    cluster.silos[0].lag = 30
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        loop = asyncio.get_running_loop()
        async with browser.stream("/api/live?view=silos") as stream:
            await stream.next("tick")
            began = loop.time()
            for _ in range(5):
                tick = (await stream.next("tick")).data
            assert loop.time() - began <= 5.5
            assert tick["silos"][0]["problem"] == "no answer within 0.8 s"
            assert tick["silos"][0]["age"] is None
            assert tick["silos"][1]["problem"] == ""


async def test_a_silo_of_another_version_is_shown_and_an_unreadable_answer_is_its_problem(time: VirtualTime) -> None:
    cluster = FakeCluster(silos=3)
    cluster.silos[1].release = "2.0"
    cluster.silos[2].answers["management.figures"] = {"address": 5, "name": None}
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        await time.advance(1)
        rows = (await browser.get("/api/silos")).json["silos"]
        assert [row["version"] for row in rows] == ["1.0", "2.0", None]
        assert "Expected" in rows[2]["problem"] or "missing" in rows[2]["problem"]
        checks = {check["name"]: check for check in (await browser.get("/api/health")).json["checks"]}
        assert not checks["one version of grange"]["ok"]
        assert checks["one version of grange"]["text"] == "1.0; 2.0"
        assert not checks["every silo answers"]["ok"]


async def test_a_silo_that_left_takes_its_row_and_its_series_along(time: VirtualTime) -> None:
    cluster = FakeCluster()
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=silos") as stream:
            assert len((await stream.next("tick")).data["silos"]) == 2
            del cluster.silos[1]
            await stream.next("tick")
            tick = (await stream.next("tick")).data
            assert [row["name"] for row in tick["silos"]] == ["silo-1"]
            assert "calls/silo-2" not in tick["points"]


async def test_without_viewers_each_silo_is_asked_every_ten_seconds(time: VirtualTime) -> None:
    cluster = FakeCluster(silos=1)
    async with shown(cluster, time):
        await time.advance(100)
        asked = [service for service, _ in cluster.silos[0].asked if service == "management.figures"]
        assert 10 <= len(asked) <= 12


async def test_types_and_methods_show_what_all_silos_count(time: VirtualTime) -> None:
    cluster = FakeCluster(types={"cart": "ring", "order": "random"})
    cluster.silos[0].fill("cart", 3)
    cluster.silos[1].fill("cart", 4, seed=1)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=types") as stream:
            await stream.next("tick")
            for silo in cluster.silos:
                silo.call(20, 0.002)
            row = (await stream.next("tick")).data["types"][0]
            assert (row["type"], row["placement"], row["activations"]) == ("cart", "ring", 7)
            assert row["silos"] == [["silo-1", 3], ["silo-2", 4]]
            assert row["calls"] > 0
        async with browser.stream("/api/live?view=type/cart") as stream:
            hello = (await stream.next("hello")).data
            assert len(hello["bounds"]) == 19
            method = hello["tick"]["methods"][0]
            assert (method["method"], sum(method["cells"]), len(method["cells"])) == ("add", 40, 19)
            assert "calls/add" in (await stream.next("tick")).data["points"]
