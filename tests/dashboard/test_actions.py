"""Acts: the role, the switch, the reason, the silo that does it, the expectation, and an outcome that never lies."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from grange.dashboard.roles import NEEDED
from grange.errors import CallTimeout, ConnectionLost, SiloUnavailable, Unauthorized
from grange.proto.acts import ACT, Act, Acted, Action, Level, Outcome
from grange.proto.ids import GrainId
from grange.proto.inspection import DETAIL, ActivationDetail, ActivationRow
from grange.testing.loop import VirtualTime
from tests.dashboard.fakes import FakeCluster, FakeSilo, shown
from tests.dashboard.shown import logged_in

ALL = {"actions": ("*",)}


def acting(silo: FakeSilo, outcome: Outcome = Outcome.DONE, expect: str = "5") -> list[Act]:
    """Let a silo answer acts; the list gets what it was asked."""
    asked: list[Act] = []

    def answer(question: bytes) -> Acted:
        act = msgspec.msgpack.decode(question, type=Act)
        asked.append(act)
        if act.preview:
            return Acted(silo.address, Outcome.PREVIEWED, "would do it", 5, expect)
        if act.expect and act.expect != expect:
            return Acted(silo.address, Outcome.REFUSED, "it has changed", 6, expect)
        return Acted(silo.address, outcome, "did it", 5, expect, '{"n": 1}')

    silo.answers[ACT] = answer
    return asked


def hosting(silo: FakeSilo, grain_id: GrainId) -> None:
    row = ActivationRow(grain_id, "active", 1, 1, 0, 0, 0)
    detail = ActivationDetail(silo.address, row, "id", 3, "ring", str(silo.address), (), (), (), ())
    silo.answers[DETAIL] = lambda question: (
        detail if msgspec.msgpack.decode(question, type=GrainId) == grain_id else None
    )


async def test_an_act_is_previewed_and_done_by_the_host_of_the_grain(time: VirtualTime) -> None:
    cluster = FakeCluster()
    two = cluster.silos[1]
    asked = {silo.name: acting(silo) for silo in cluster.silos}
    hosting(two, GrainId("cart", "a/b"))
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard, Level.OPERATOR)
        question: dict[str, Any] = {"action": "deactivate", "target": "cart/a/b"}
        preview = (await browser.post("/api/act", {**question, "preview": True})).json
        assert (preview["outcome"], preview["count"], preview["silo"]) == ("previewed", 5, "silo-2")
        done = (await browser.post("/api/act", {**question, "reason": "stuck", "expect": preview["expect"]})).json
        assert (done["outcome"], done["result"]) == ("done", '{"n": 1}')
        assert asked["silo-1"] == []
        act = asked["silo-2"][-1]
        assert (act.actor, act.level, act.reason, act.expect) == ("token:operator", Level.OPERATOR, "stuck", "5")


async def test_an_expectation_that_no_longer_holds_is_409(time: VirtualTime) -> None:
    cluster = FakeCluster()
    for silo in cluster.silos:
        acting(silo)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        question = {"action": "deactivate", "target": "cart"}
        preview = (await browser.post("/api/act", {**question, "preview": True})).json
        assert json.loads(preview["expect"]) == {str(silo.address): "5" for silo in cluster.silos}
        for silo in cluster.silos:
            acting(silo, expect="6")
        reply = await browser.post("/api/act", {**question, "reason": "r", "expect": preview["expect"]})
        assert (reply.status, reply.json["error"]["field"]) == (409, "expect")
        acting(cluster.silos[0])
        del cluster.silos[1]
        reply = await browser.post("/api/act", {**question, "reason": "r", "expect": preview["expect"]})
        assert reply.status == 409
        for wrong in ("5", "[]", '{"x": 1}'):
            reply = await browser.post("/api/act", {**question, "reason": "r", "expect": wrong})
            assert reply.status in (400, 409)


async def test_an_act_that_some_silos_did_was_not_refused(time: VirtualTime) -> None:
    """A page says of a refusal and of 409 that nothing was done."""
    cluster = FakeCluster()
    for silo in cluster.silos:
        acting(silo)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        question = {"action": "deactivate", "target": "cart"}
        preview = (await browser.post("/api/act", {**question, "preview": True})).json
        acting(cluster.silos[1], expect="6")
        reply = await browser.post("/api/act", {**question, "reason": "r", "expect": preview["expect"]})
        assert (reply.status, reply.json["outcome"], reply.json["count"]) == (200, "failed", 5)
        assert reply.json["text"] == "silo-1: done: did it; silo-2: refused: it has changed"
        cluster.silos[1].answers[ACT] = Unauthorized("no")
        reply = await browser.post("/api/act", {**question, "reason": "r"})
        assert reply.json["outcome"] == "failed"
        cluster.silos[0].answers[ACT] = CallTimeout("late")
        reply = await browser.post("/api/act", {**question, "reason": "r"})
        assert reply.json["outcome"] == "unknown"


@pytest.mark.parametrize("level", [Level.VIEWER, Level.OPERATOR, Level.ADMIN])
@pytest.mark.parametrize("action", list(Action))
async def test_a_role_may_do_what_its_level_allows(time: VirtualTime, level: Level, action: Action) -> None:
    cluster = FakeCluster()
    asked = [acting(silo) for silo in cluster.silos]
    hosting(cluster.silos[0], GrainId("cart", "a"))
    async with shown(cluster, time, **ALL) as dashboard:
        browser = await logged_in(dashboard, level)
        target = {Action.DEACTIVATE: "cart/a", Action.CALL: "cart/a", Action.LOG_LEVEL: "grange"}.get(action, "silo-1")
        for preview in (True, False):
            question = {"action": str(action), "target": target, "reason": "test", "preview": preview}
            reply = await browser.post("/api/act", question)
            assert reply.status == (200 if level >= NEEDED[action] else 403), reply.body
        if level < NEEDED[action]:
            assert not any(asked), "a refused act must not reach a silo"
        listed = (await browser.get("/api/me")).json["actions"]
        assert (action in listed) == (level >= NEEDED[action])


async def test_an_action_that_is_switched_off_is_refused_to_an_admin_too(time: VirtualTime) -> None:
    cluster = FakeCluster()
    asked = [acting(silo) for silo in cluster.silos]
    async with shown(cluster, time, actions=("drain",)) as dashboard:
        browser = await logged_in(dashboard)
        reply = await browser.post("/api/act", {"action": "cordon", "target": "silo-1", "reason": "r"})
        assert (reply.status, "switched off" in reply.json["error"]["message"]) == (403, True)
        assert not any(asked)
        assert (await browser.get("/api/me")).json["actions"] == ["drain"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"action": "fly"}, 400, "action"),
        ({}, 400, ""),
        ({"action": "cordon", "target": "silo-1"}, 400, "reason"),
        ({"action": "cordon", "target": "silo-1", "reason": "  "}, 400, "reason"),
        ({"action": "cordon", "target": "silo-1", "reason": "r" * 501}, 400, "reason"),
        ({"action": "cordon", "target": "silo-9", "reason": "r"}, 400, "target"),
        ({"action": "cordon", "silo": "silo-9", "reason": "r"}, 400, "silo"),
        ({"action": "cordon", "reason": "r"}, 400, "silo"),
        ({"action": "deactivate", "target": "none", "reason": "r"}, 400, "target"),
        ({"action": "deactivate", "target": "cart/none", "reason": "r"}, 404, "target"),
        ({"action": "cordon", "target": 5, "reason": "r"}, 400, "target"),
    ],
)
async def test_a_wrong_act_is_named(time: VirtualTime, body: dict[str, Any], status: int, field: str) -> None:
    async with shown(FakeCluster(), time) as dashboard:
        browser = await logged_in(dashboard)
        reply = await browser.post("/api/act", body)
        assert (reply.status, reply.json["error"].get("field", "")) == (status, field)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SiloUnavailable("gone"), "refused"),
        (Unauthorized("no"), "refused"),
        (CallTimeout("late"), "unknown"),
        (ConnectionLost("cut"), "unknown"),
    ],
)
async def test_the_outcome_of_a_lost_act_is_not_guessed(time: VirtualTime, error: Exception, outcome: str) -> None:
    cluster = FakeCluster(silos=1)
    cluster.silos[0].answers[ACT] = error
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        found = (await browser.post("/api/act", {"action": "cordon", "target": "silo-1", "reason": "r"})).json
        assert found["outcome"] == outcome
        assert str(error) in found["text"]


async def test_an_act_that_a_silo_never_answers_is_unknown(time: VirtualTime) -> None:
    cluster = FakeCluster(silos=1)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        cluster.silos[0].lag = 100
        found = (await browser.post("/api/act", {"action": "cordon", "target": "silo-1", "reason": "r"})).json
        assert found["outcome"] == "unknown"
