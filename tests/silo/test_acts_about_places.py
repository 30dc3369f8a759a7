"""The acts that move an activation, and that suspend and resume the rebalancer: preview, outcome, role, audit, wire."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from grange import Grain
from grange.proto.acts import Act, Acted, Action, Asker, Level, Outcome
from grange.proto.journal import After
from grange.silo.silo import Silo
from grange.testing import TestCluster
from tests.silo.basket import Basket

OPERATORS = Asker("ann", Level.OPERATOR)


class Plain(Grain, name="plain", placement="random"):
    async def ping(self) -> None: ...


class Worker(Grain, name="worker", stateless_workers=2):
    async def ping(self) -> None: ...


def move(target: str, to: str = "", **given: Any) -> Act:
    return Act(Action.MOVE, target, msgspec.json.encode({"to": to}).decode(), "a test", **given)


async def act(silo: Silo, act: Act, asker: Asker = OPERATORS) -> Acted:
    return await silo.control.acts.act(act, asker)


async def placed(cluster: TestCluster, grain: Any) -> tuple[Silo, Silo]:
    """The silo that hosts it, and another one."""
    here = cluster.where(grain)
    assert here is not None
    return here, next(silo for silo in cluster.silos if silo is not here)


async def test_a_move_is_shown_then_done_after_the_requests_that_run() -> None:
    async with TestCluster([Basket, Plain], silos=2) as cluster:
        basket, plain = cluster.get_grain(Basket, "ann"), cluster.get_grain(Plain, "p")
        await basket.add("a")
        await plain.ping()
        here, other = await placed(cluster, basket)
        call = asyncio.create_task(basket.hold(2))
        await cluster.advance(0.5)
        seen = await act(here, move("basket/ann", other.name, preview=True))
        assert (seen.outcome, seen.count) == (Outcome.PREVIEWED, 1)
        assert "moves to silo" in seen.text
        assert "after its 1 request, with what it carries" in seen.text
        assert cluster.where(basket) is here
        moving = asyncio.create_task(act(here, move("basket/ann", other.name, expect=seen.expect)))
        await cluster.advance(1)
        assert not moving.done()
        done = await moving
        assert (done.outcome, done.count, msgspec.json.decode(done.result)) == (Outcome.DONE, 1, str(other.address))
        assert await call == ["a", "held"]
        assert cluster.where(basket) is other
        assert await basket.add("b") == ["a", "held", "b"]
        seen = await act((await placed(cluster, plain))[0], move("plain/p", preview=True))
        assert (
            "the silo that its placement chooses after its 0 requests, and loses what it holds in memory" in seen.text
        )


async def test_a_move_expects_the_activation_that_was_shown() -> None:
    async with TestCluster([Basket], silos=2) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here, other = await placed(cluster, basket)
        seen = await act(here, move("basket/ann", preview=True))
        await act(here, move("basket/ann", other.name))
        await act(other, move("basket/ann", here.name))
        assert cluster.where(basket) is here
        late = await act(here, move("basket/ann", expect=seen.expect))
        assert late.outcome is Outcome.REFUSED
        assert "no longer holds" in late.text
        assert cluster.where(basket) is here


@pytest.mark.parametrize(
    ("target", "to", "text"),
    [
        ("basket", "", "name a grain as type/key"),
        ("basket/", "", "name a grain as type/key"),
        ("basket/eve", "", "there is no activation of 'basket/eve' in this silo"),
        ("basket/ann", "silo-9", "'silo-9' names 0 active silos"),
        ("worker/w", "", "has migratable=False or stateless_workers="),
    ],
)
async def test_what_cannot_move_is_refused_by_name(target: str, to: str, text: str) -> None:
    async with TestCluster([Basket, Worker], silos=2) as cluster:
        await cluster.get_grain(Basket, "ann").add("a")
        here, _ = await placed(cluster, cluster.get_grain(Basket, "ann"))
        await here.get_grain(Worker, "w").ping()
        refused = await act(here, move(target, to))
        assert refused.outcome is Outcome.REFUSED
        assert text in refused.text
        assert cluster.where(cluster.get_grain(Basket, "ann")) is here


async def test_a_silo_that_does_not_take_it_is_named() -> None:
    async with TestCluster([Basket, Plain], silos=1) as cluster:
        (here,) = cluster.silos
        await cluster.get_grain(Basket, "ann").add("a")
        alone = await act(here, move("basket/ann"))
        assert "no other silo can take 'basket/ann'" in alone.text
        other = await cluster.add_silo(grains=[Plain])
        unable = await act(here, move("basket/ann", other.name))
        assert unable.outcome is Outcome.REFUSED
        assert f"cannot move to {other.name}: " in unable.text
        assert "is on silo silo-1 already" in (await act(here, move("basket/ann", "silo-1"))).text


async def test_a_move_that_does_not_arrive_has_failed_and_the_grain_serves() -> None:
    """With this seed the silo of the grain has its directory entry too."""
    async with TestCluster([Basket], silos=3, seed=2) as cluster:
        basket = cluster.get_grain(Basket, "ann")
        await basket.add("a")
        here, other = await placed(cluster, basket)
        cluster.partition(here, other)
        failed = await act(here, move("basket/ann", other.name))
        assert failed.outcome in (Outcome.FAILED, Outcome.REFUSED)
        assert "did not move" in failed.text
        assert await here.get_grain(Basket, "ann").add("b") == ["a", "b"]


async def test_a_suspension_is_shown_done_and_ended_on_all_silos() -> None:
    """MIG-07: the silo that is asked tells the others."""
    async with TestCluster([Basket], silos=2, placement_options={"rebalance": True}) as cluster:
        asked, other = cluster.silos
        suspend = Act(Action.SUSPEND_REBALANCING, values='{"seconds": 600}', reason="a test")
        seen = await act(asked, msgspec.structs.replace(suspend, preview=True))
        assert (seen.outcome, seen.count) == (Outcome.PREVIEWED, 1)
        assert "no activation moves by the rebalancer for 600 s, on any silo" in seen.text
        rebalancers = [silo._running.hosting.rebalancer for silo in (asked, other)]
        assert [each.suspension.left for each in rebalancers] == [0, 0]
        resume = Act(Action.RESUME_REBALANCING, reason="a test")
        assert "is not suspended" in (await act(asked, resume)).text
        assert (await act(asked, suspend)).outcome is Outcome.DONE
        await cluster.advance(5)
        assert all(590 < each.suspension.left < 600 for each in rebalancers)
        late = await act(asked, msgspec.structs.replace(suspend, expect=seen.expect))
        assert late.outcome is Outcome.REFUSED
        assert (await act(other, resume)).outcome is Outcome.DONE
        await cluster.advance(5)
        assert [each.suspension.left for each in rebalancers] == [0, 0]
        found = [(row.action, row.outcome) for row in asked.control.audit.after(After()).rows if row.outcome == "done"]
        assert found == [("suspend rebalancing", "done")]


@pytest.mark.parametrize("values", ['{"seconds": 0}', '{"seconds": 604801}', '{"seconds": "x"}', "{}", ""])
async def test_a_wrong_suspension_is_refused(values: str) -> None:
    async with TestCluster([Basket], silos=1) as cluster:
        refused = await act(cluster.silos[0], Act(Action.SUSPEND_REBALANCING, values=values, reason="a test"))
        assert refused.outcome is Outcome.REFUSED
        assert not cluster.silos[0]._running.hosting.rebalancer.suspension.left


@pytest.mark.parametrize("action", [Action.MOVE, Action.SUSPEND_REBALANCING, Action.RESUME_REBALANCING])
async def test_a_viewer_and_a_silo_that_switched_it_off_do_nothing(action: Action) -> None:
    values = {Action.MOVE: '{"to": ""}', Action.SUSPEND_REBALANCING: '{"seconds": 5}'}.get(action, "")
    asked = Act(action, "basket/ann" if action is Action.MOVE else "", values, "a test")
    async with TestCluster([Basket], silos=2, actions=["drain"]) as cluster:
        await cluster.get_grain(Basket, "ann").add("a")
        here, _ = await placed(cluster, cluster.get_grain(Basket, "ann"))
        for asker, text in (
            (Asker("eve", Level.VIEWER), "operator"),
            (OPERATORS, "switched off by the option actions"),
        ):
            refused = await act(here, asked, asker)
            assert refused.outcome is Outcome.REFUSED
            assert text in refused.text
        assert cluster.where(cluster.get_grain(Basket, "ann")) is here
