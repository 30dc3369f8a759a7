"""The dashboard's acts about places, on a real cluster on a memory network, and the buttons for them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from grange.dashboard.roles import NEEDED
from grange.proto.acts import Action, Level
from grange.testing.cluster import TestCluster
from tests.architecture.sources import ROOT
from tests.dashboard.shown import dashboard_of, logged_in
from tests.silo.basket import Basket

PAGES = ROOT / "grange" / "dashboard" / "static" / "pages"


async def test_an_activation_moves_by_the_silo_that_hosts_it() -> None:
    async with TestCluster([Basket], silos=3) as cluster, dashboard_of(cluster) as dashboard:
        basket = cluster.get_grain(Basket, "a/b")
        await basket.add("x")
        here = cluster.where(basket)
        assert here is not None
        other = next(silo for silo in cluster.silos if silo is not here)
        browser = await logged_in(dashboard, Level.OPERATOR)
        question: dict[str, Any] = {"action": "move", "target": "basket/a/b", "values": {"to": other.name}}
        preview = (await browser.post("/api/act", {**question, "preview": True})).json
        assert (preview["outcome"], preview["count"], preview["silo"]) == ("previewed", 1, here.name)
        assert "with what it carries" in preview["text"]
        assert cluster.where(basket) is here
        done = (await browser.post("/api/act", {**question, "reason": "r", "expect": preview["expect"]})).json
        assert (done["outcome"], json.loads(done["result"])) == ("done", str(other.address)), done
        assert cluster.where(basket) is other
        assert await basket.add("y") == ["x", "y"]
        assert (await browser.get("/api/activation?type=basket&key=a/b")).json["silo"] == other.name
        late = await browser.post("/api/act", {**question, "reason": "r", "expect": preview["expect"]})
        assert late.status == 409, "another silo hosts it now"
        away = await browser.post("/api/act", {**question, "target": "basket/none", "reason": "r"})
        assert (away.status, away.json["error"]["field"]) == (404, "target")
        rows = (await browser.get("/api/audit")).json["rows"]
        assert {(row["action"], row["target"]) for row in rows} == {("move", "basket/a/b")}


async def test_rebalancing_is_suspended_and_resumed_on_all_silos() -> None:
    async with TestCluster([Basket], silos=2) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard, Level.OPERATOR)
        question: dict[str, Any] = {"action": "suspend rebalancing", "target": "", "values": {"seconds": 600}}
        preview = (await browser.post("/api/act", {**question, "preview": True})).json
        assert (preview["outcome"], preview["count"]) == ("previewed", 2)
        done = (await browser.post("/api/act", {**question, "reason": "r", "expect": preview["expect"]})).json
        assert (done["outcome"], done["silos"]) == ("done", ["silo-1", "silo-2"])
        suspensions = [silo._running.hosting.rebalancer.suspension for silo in cluster.silos]
        assert all(599 < each.left <= 600 for each in suspensions)
        wrong = (await browser.post("/api/act", {**question, "values": {"seconds": 0}, "reason": "r"})).json
        assert wrong["outcome"] == "refused"
        done = (await browser.post("/api/act", {"action": "resume rebalancing", "reason": "r"})).json
        assert done["outcome"] == "done"
        assert [each.left for each in suspensions] == [0, 0]


@pytest.mark.parametrize("action", ["move", "suspend rebalancing", "resume rebalancing"])
async def test_a_viewer_does_not_move_anything(action: str) -> None:
    async with TestCluster([Basket], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        await cluster.get_grain(Basket, "a").add("x")
        browser = await logged_in(dashboard, Level.VIEWER)
        question = {"action": action, "target": "basket/a", "values": {"seconds": 5}, "reason": "r"}
        assert (await browser.post("/api/act", question)).status == 403
        assert action not in (await browser.get("/api/me")).json["actions"]


def test_each_action_has_a_button_on_a_page() -> None:
    """The page hides those that the role may not do; their names are those of the actions."""
    text = "\n".join(path.read_text() for path in PAGES.glob("*.js"))
    shown = {*re.findall(r"action: '([^']+)'", text)}
    assert shown <= {action.value for action in Action}
    assert {"move", "suspend rebalancing", "resume rebalancing"} <= shown
    assert {*NEEDED} == {*Action}
    assert re.search(r"action: 'move'.*form: mover\(\)", text), "its form asks for the silo"
    assert re.search(r"action: 'suspend rebalancing'.*form: pause", text), "its form asks for the seconds"
