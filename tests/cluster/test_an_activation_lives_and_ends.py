"""Life of an activation: hooks, failures, deactivation, idle collection (LIF)."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

import pytest
import svcs

from grange import ActivationFailed, Grain, PersistentState, one_way
from grange.grains.deactivation import DeactivationReason
from grange.proto.acts import ACT, Act, Action
from grange.proto.management import encode
from grange.testing.cluster import TestCluster


class Watcher:
    """Records what the hooks of a test's grains did, in order."""

    def __init__(self) -> None:
        self.activated: list[str] = []
        self.deactivated: list[str] = []
        self.ended = asyncio.Event()
        self.events: list[str] = []


class Watched(Grain):
    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    async def on_activate(self) -> None:
        self.watcher.activated.append(self.activation_id)
        self.watcher.events.append("activate")

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        self.watcher.deactivated.append(self.activation_id)
        self.watcher.ended.set()

    async def activation(self) -> str:
        self.watcher.events.append("method")
        return self.activation_id

    async def finish(self) -> str:
        self.deactivate_when_idle()
        return self.activation_id


def watched(watcher: Watcher) -> svcs.Registry:
    registry = svcs.Registry()
    registry.register_value(Watcher, watcher)
    return registry


async def test_the_hook_runs_once_before_the_first_method() -> None:
    """LIF-01: the first call activates exactly once, before the method body."""
    watcher = Watcher()
    async with TestCluster([Watched], services=watched(watcher)) as cluster:
        first = await cluster.get_grain(Watched, "a").activation()
        await cluster.get_grain(Watched, "a").activation()
        assert watcher.activated == [first]
        assert watcher.deactivated == []
        assert watcher.events == ["activate", "method", "method"]


async def test_a_deactivated_grain_is_activated_again() -> None:
    """LIF-02, LIF-03: the deactivation is reported once, with the same id. The next call makes a new activation."""
    watcher = Watcher()
    async with TestCluster([Watched], services=watched(watcher)) as cluster:
        grain = cluster.get_grain(Watched, "a")
        first = await grain.finish()
        second = await grain.activation()
        assert second != first
        assert watcher.activated == [first, second]
        assert watcher.deactivated == [first]


class SlowToEnd(Grain):
    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        await asyncio.sleep(5)
        self.watcher.deactivated.append(self.activation_id)

    async def finish(self) -> str:
        self.deactivate_when_idle()
        return self.activation_id

    async def seen(self) -> tuple[str, list[str]]:
        return self.activation_id, list(self.watcher.deactivated)


async def test_a_slow_hook_is_awaited() -> None:
    """LIF-04: the next call gets a new activation only after the slow hook of the old one has ended."""
    watcher = Watcher()
    async with TestCluster([SlowToEnd], services=watched(watcher)) as cluster:
        grain = cluster.get_grain(SlowToEnd, "a")
        first = await grain.finish()
        second, deactivated = await grain.seen()
        assert second != first
        assert deactivated == [first]


class BadActivate(Grain):
    async def on_activate(self) -> None:
        raise KeyError("no such record")

    async def value(self) -> int:
        return 1


class Middle(Grain):
    async def ask(self) -> int:
        return await self.get_grain(BadActivate, "bad").value()


async def test_an_error_of_the_activation_hook_reaches_the_caller() -> None:
    """LIF-05: with its type and message, also through an intermediate grain, and not as a time-out."""
    async with TestCluster([BadActivate, Middle]) as cluster:
        with pytest.raises(KeyError, match="no such record") as caught:
            await cluster.get_grain(BadActivate, "a").value()
        assert "raised while activating" in "".join(caught.value.__notes__)
        with pytest.raises(KeyError, match="no such record"):
            await cluster.get_grain(Middle, "m").ask()
        assert cluster.count(BadActivate) == 0


async def test_every_waiting_caller_learns_of_a_failed_activation() -> None:
    """LIF-05: each caller gets the error, not only the first one."""
    async with TestCluster([BadActivate]) as cluster:
        grain = cluster.get_grain(BadActivate, "a")
        outcomes = await asyncio.gather(*(grain.value() for _ in range(5)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [KeyError] * 5


class BadConstructor(Grain):
    def __init__(self) -> None:
        raise LookupError("cannot be built")

    async def value(self) -> int:
        return 1


async def test_an_error_of_the_constructor_reaches_the_caller() -> None:
    """LIF-06: at once, with the constructor's own error."""
    async with TestCluster([BadConstructor]) as cluster:
        loop = asyncio.get_running_loop()
        before = loop.time()
        with pytest.raises(LookupError, match="cannot be built"):
            await cluster.get_grain(BadConstructor, "a").value()
        assert loop.time() - before < 1


class EndsAtOnce(Grain):
    async def on_activate(self) -> None:
        self.deactivate_when_idle()

    async def value(self) -> int:
        return 1


async def test_a_grain_that_ends_while_activating_is_refused() -> None:
    """LIF-08: the call fails with an error that names the cause, and does not activate the grain in an endless loop."""
    async with TestCluster([EndsAtOnce]) as cluster:
        with pytest.raises(ActivationFailed, match="ended while activating"):
            await cluster.get_grain(EndsAtOnce, "a").value()


@dataclass
class Amount:
    value: int = 0


class Account(Grain):
    def __init__(self, state: PersistentState[Amount]) -> None:
        self.state = state

    async def put_and_finish(self, value: int) -> str:
        self.state.value.value = value
        await self.state.write()
        self.deactivate_when_idle()
        return self.activation_id

    async def get(self) -> tuple[int, str]:
        return self.state.value.value, self.activation_id


class AccountCaller(Grain):
    async def twice(self) -> tuple[str, int, str]:
        account = self.get_grain(Account, "a")
        first = await account.put_and_finish(99)
        value, second = await account.get()
        return first, value, second


async def test_deactivation_inside_a_method_keeps_reply_and_state() -> None:
    """LIF-09: the reply is delivered, the next call lands on a new activation within 1 s, the write survives."""
    async with TestCluster([Account]) as cluster:
        loop, account = asyncio.get_running_loop(), cluster.get_grain(Account, "a")
        first = await account.put_and_finish(99)
        before = loop.time()
        value, second = await account.get()
        assert (value, second != first, loop.time() - before < 1) == (99, True, True)


async def test_a_caller_with_a_stale_address_finds_the_new_activation() -> None:
    """LIF-10, LIF-12: a grain and a gateway with a cached, ended activation reach the next one within 2 s."""
    async with TestCluster([Account, AccountCaller], silos=3) as cluster:
        loop = asyncio.get_running_loop()
        for number in range(6):
            before = loop.time()
            first, value, second = await cluster.get_grain(AccountCaller, str(number)).twice()
            assert (value, second != first, loop.time() - before < 2) == (99, True, True)


class Idle(Grain, idle_timeout=120):
    async def touch(self) -> None:
        return None


class Short(Grain, idle_timeout=30):
    async def touch(self) -> None:
        return None


class Kept(Grain, keep_alive=True):
    async def touch(self) -> None:
        return None


RUNTIME = {"idle_timeout": 60, "collect_period": 10}


class Default(Grain):
    async def touch(self) -> None:
        return None

    async def stay(self, seconds: float) -> None:
        self.delay_deactivation(seconds)


async def test_idle_activations_are_collected() -> None:
    """LIF-13: after their idle timeout, and no earlier."""
    async with TestCluster([Default], runtime=RUNTIME) as cluster:
        for number in range(20):
            await cluster.get_grain(Default, str(number)).touch()
        await cluster.advance(55)
        assert cluster.count(Default) == 20
        await cluster.advance(20)
        assert cluster.count(Default) == 0


async def test_busy_activations_stay() -> None:
    """LIF-14: activations that are called are not collected; idle ones in the same silo are."""
    async with TestCluster([Default], runtime=RUNTIME) as cluster:
        for number in range(20):
            await cluster.get_grain(Default, str(number)).touch()
        for _ in range(10):
            await cluster.advance(20)
            for number in range(5):
                await cluster.get_grain(Default, str(number)).touch()
        assert cluster.count(Default) == 5


async def test_collection_can_be_forced() -> None:
    """LIF-15: a forced collection with an age ends only the activations that were idle at least that long."""
    async with TestCluster([Default]) as cluster:
        for number in range(6):
            await cluster.get_grain(Default, str(number)).touch()
        await cluster.advance(30)
        for number in range(2):
            await cluster.get_grain(Default, str(number)).touch()
        for gateway in cluster.client.gateways:
            act = Act(Action.COLLECT, values='{"idle": 20}', reason="a test")
            await cluster.client.ask(gateway, ACT, encode(act))
        await cluster.advance(1)
        assert cluster.count(Default) == 2


async def test_a_class_may_have_its_own_idle_timeout() -> None:
    """LIF-16: an idle timeout shorter and longer than the silo's, and none at all."""
    async with TestCluster([Default, Idle, Short, Kept], runtime=RUNTIME) as cluster:
        for cls in (Default, Idle, Short, Kept):
            await cluster.get_grain(cls, "a").touch()
        counts = []
        for _ in range(3):
            await cluster.advance(50)
            counts.append([cluster.count(cls) for cls in (Short, Default, Idle, Kept)])
        assert counts == [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]


class Passive(Default, idle_timeout=3):
    pass


async def test_an_idle_grain_ends_three_seconds_after_its_last_call() -> None:
    """EXT-06: not sooner, not if that is off, and a call makes it anew."""
    async with TestCluster([Passive, Kept], runtime={**RUNTIME, "collect_period": 0.5}) as cluster:
        passive, kept = cluster.get_grain(Passive, "a"), cluster.get_grain(Kept, "a")
        for _ in range(5):
            await passive.touch()
            await kept.touch()
            await cluster.advance(2.5)
        activation = cluster.activation(passive)
        assert activation is not None
        await cluster.advance(1.5)
        assert cluster.count(Passive) == 0
        await cluster.advance(10_000)
        assert cluster.count(Kept) == 1
        await passive.touch()
        again = cluster.activation(passive)
        assert again is not None
        assert again.activation_id != activation.activation_id


async def test_deactivation_can_be_delayed() -> None:
    """A delay counts from the call that sets it, and can be cancelled."""
    async with TestCluster([Default], runtime=RUNTIME) as cluster:
        await cluster.get_grain(Default, "long").stay(300)
        await cluster.get_grain(Default, "ever").stay(math.inf)
        await cluster.get_grain(Default, "back").stay(300)
        await cluster.get_grain(Default, "back").stay(0)
        await cluster.advance(100)
        assert cluster.count(Default) == 2
        await cluster.advance(250)
        assert cluster.count(Default) == 1


class Ticking(Grain):
    def __init__(self) -> None:
        self.ticks = 0

    async def begin(self, keep_alive: bool) -> None:
        self.start_timer(self._tick, 5, 5, keep_alive=keep_alive)

    async def _tick(self) -> None:
        self.ticks += 1

    async def count(self) -> int:
        return self.ticks


async def test_a_timer_does_not_hold_an_activation() -> None:
    """LIF-18: without keep_alive the activation is collected, and its next activation has no ticks."""
    async with TestCluster([Ticking], runtime=RUNTIME) as cluster:
        await cluster.get_grain(Ticking, "free").begin(False)
        await cluster.get_grain(Ticking, "held").begin(True)
        await cluster.advance(100)
        assert cluster.count(Ticking) == 1
        assert await cluster.get_grain(Ticking, "free").count() == 0
        assert await cluster.get_grain(Ticking, "held").count() >= 19


class Busy(Grain):
    async def begin(self) -> None:
        self.start_timer(self._tick, 0, 0.001)

    async def _tick(self) -> None:
        await asyncio.sleep(7)


async def test_a_tick_that_runs_does_not_hold_an_activation() -> None:
    """LIF-18: also if a tick runs each time the collector checks."""
    async with TestCluster([Busy], runtime=RUNTIME) as cluster:
        await cluster.get_grain(Busy, "always").begin()
        await cluster.advance(100)
        assert cluster.count(Busy) == 0


class Stuck(Grain):
    stuck = True

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    async def on_activate(self) -> None:
        self.watcher.activated.append(self.activation_id)
        if len(self.watcher.activated) == 1:
            await asyncio.Event().wait()

    async def value(self) -> int:
        return 1


async def test_a_stuck_activation_fails_at_its_time_out() -> None:
    """LIF-21: the caller gets the error at the activation time-out, and a later call activates normally."""
    async with TestCluster([Stuck], services=watched(Watcher()), runtime={"activation_timeout": 2}) as cluster:
        loop, before = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        with pytest.raises(ActivationFailed, match="longer than 2 s"):
            await cluster.get_grain(Stuck, "a").value()
        assert loop.time() - before == pytest.approx(2, abs=0.1)
        assert await cluster.get_grain(Stuck, "a").value() == 1


class Signal(Grain):
    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    @one_way
    async def signal(self) -> None:
        self.watcher.events.append(self.activation_id)
        self.watcher.ended.set()

    async def finish(self) -> str:
        self.deactivate_when_idle()
        return self.activation_id


class Signaller(Grain):
    async def run(self) -> str:
        target = self.get_grain(Signal, "s")
        first = await target.finish()
        await target.signal()
        return first


async def test_a_one_way_call_finds_the_new_activation() -> None:
    """LIF-22: a signal sent to an activation that has ended arrives exactly once, at a new activation."""
    watcher = Watcher()
    async with TestCluster([Signal, Signaller], services=watched(watcher), silos=3) as cluster:
        for number in range(5):
            watcher.events.clear()
            watcher.ended.clear()
            first = await cluster.get_grain(Signaller, str(number)).run()
            await watcher.ended.wait()
            await cluster.advance(10)
            assert len(watcher.events) == 1
            assert watcher.events[0] != first
