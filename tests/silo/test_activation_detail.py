"""One activation in detail: requests with callers and stacks, timers, states, last calls, the directory's entry."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec
import pytest

from grange import Grain, PersistentState
from grange.proto.ids import GrainId
from grange.proto.inspection import DETAIL, ActivationDetail
from grange.proto.management import encode
from grange.runtime.activations.recent_calls import KEPT, WATCHED_FOR
from grange.testing import TestCluster


@dataclass
class Items:
    count: int = 0


class Cart(Grain):
    def __init__(self, items: PersistentState[Items]) -> None:
        self.items = items

    async def hold(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    async def fail(self) -> None:
        raise ValueError("no")

    async def tick_each(self, seconds: float) -> None:
        self.start_timer(self._tick, seconds, seconds)

    async def call_other(self, key: str) -> None:
        await self.get_grain(Cart, key).hold(5)

    async def _tick(self) -> None: ...


class Dice(Grain, stateless_workers=2):
    async def roll(self) -> int:
        return 4


async def ask(cluster: TestCluster, grain_id: GrainId, number: int = 0) -> ActivationDetail | None:
    answer = await cluster.client.ask(cluster.client.gateways[number], DETAIL, encode(grain_id))
    return msgspec.msgpack.decode(answer, type=ActivationDetail | None)


async def test_the_detail_of_a_busy_activation() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        ann = cluster.get_grain(Cart, "ann")
        await ann.tick_each(60)
        calls = [asyncio.create_task(ann.hold(5)) for _ in range(2)]
        await cluster.advance(2)
        detail = await ask(cluster, ann.id)
        assert detail is not None
        (running,), (waiting,) = detail.running, detail.waiting
        assert (running.method, waiting.method) == ("hold", "hold")
        assert running.caller
        assert running.caller == waiting.caller
        assert "await asyncio.sleep(seconds)" in "\n".join(running.stack)
        assert (running.seconds, waiting.seconds) == pytest.approx((2, 2), abs=0.1)
        assert waiting.left == pytest.approx(28, abs=0.1)
        (timer,) = detail.timers
        assert (timer.name, timer.period, timer.due) == ("Cart._tick", 60, pytest.approx(58, abs=0.1))
        assert detail.states == ("items",)
        assert detail.placement == "ring"
        assert detail.view == cluster.silos[0].view.version
        assert detail.registered == f"{detail.address} activation {detail.activation_id}"
        assert detail.row.turn == pytest.approx(2, abs=0.1)
        await asyncio.gather(*calls)


async def test_the_caller_of_a_call_in_this_process_is_this_silo() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        call = asyncio.create_task(cluster.get_grain(Cart, "ann").call_other("bob"))
        await cluster.advance(1)
        detail = await ask(cluster, GrainId("cart", "bob"))
        assert detail is not None
        assert [each.caller for each in detail.running] == ["this silo"]
        await call


async def test_a_turn_tells_which_calls_it_waits_for() -> None:
    async with TestCluster([Cart], silos=2) as cluster:
        keys = [f"k{number}" for number in range(6)]
        for key in keys:
            await cluster.get_grain(Cart, key).hold()
        calls = [asyncio.create_task(cluster.get_grain(Cart, key).call_other(keys[-1])) for key in keys[:-1]]
        await cluster.advance(1)
        details = [await ask(cluster, GrainId("cart", key), number) for key in keys for number in (0, 1)]
        told = {each.row.grain_id.key: [row.awaits for row in each.running] for each in details if each is not None}
        assert told == {**{key: [("cart/k5.hold",)] for key in keys[:-1]}, keys[-1]: [()]}
        await asyncio.gather(*calls)


async def test_last_calls_are_kept_only_while_they_are_looked_at() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        ann, deps = cluster.get_grain(Cart, "ann"), cluster.silos[0].catalog.deps
        await ann.hold()
        first = await ask(cluster, ann.id)
        assert first is not None
        assert first.calls == ()
        calls = [asyncio.create_task(ann.hold(1)) for _ in range(2)]
        await cluster.advance(0.5)
        with pytest.raises(ValueError, match="no"):
            await ann.fail()
        second = await ask(cluster, ann.id)
        assert second is not None
        assert [(each.method, each.error) for each in second.calls] == [
            ("fail", "ValueError"),
            ("hold", ""),
            ("hold", ""),
        ]
        assert [each.wait for each in second.calls] == pytest.approx([1.5, 1, 0], abs=0.01)
        for _ in range(KEPT + 5):
            await ann.hold()
        third = await ask(cluster, ann.id)
        assert third is not None
        assert len(third.calls) == KEPT
        await cluster.advance(WATCHED_FOR + 1)
        await ann.hold()
        assert not deps.watched
        await asyncio.gather(*calls)


async def test_a_grain_that_is_not_here_has_no_detail() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        assert await ask(cluster, GrainId("cart", "absent")) is None
        assert await ask(cluster, GrainId("no such type", "a")) is None


async def test_a_stateless_worker_has_no_entry_in_the_directory() -> None:
    async with TestCluster([Dice], silos=1) as cluster:
        await cluster.get_grain(Dice, "a").roll()
        detail = await ask(cluster, GrainId("dice", "a"))
        assert detail is not None
        assert (detail.registered, detail.placement) == ("", "stateless_workers")
