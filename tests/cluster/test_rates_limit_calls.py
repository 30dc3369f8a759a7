"""`@rate_limited` refuses what is over the rate, before it runs (RAT)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grange import (
    CallNotExecuted,
    ConfigurationError,
    DeactivationCode,
    DeactivationReason,
    Grain,
    GrainInterface,
    Overloaded,
    one_way,
    rate_limited,
    request_context,
)
from grange.testing.cluster import TestCluster


class Door(Grain):
    """Counts the calls that ran."""

    async def on_activate(self) -> None:
        self.ran = 0

    @rate_limited(3, seconds=10)
    async def knock(self) -> int:
        self.ran += 1
        return self.ran

    @rate_limited(2, seconds=10, per="method", caller="user")
    async def ring(self) -> None:
        self.ran += 1

    @one_way
    @rate_limited(1, seconds=10)
    async def whisper(self) -> None:
        self.ran += 1

    async def count(self) -> int:
        return self.ran


class Hall(Grain):
    """Calls a door from inside the cluster."""

    async def knock(self, key: str) -> tuple[str, float]:
        try:
            return str(await self.get_grain(Door, key).knock()), 0.0
        except Overloaded as error:
            return str(error), error.retry_after


async def test_calls_over_the_rate_are_refused_and_not_executed() -> None:
    """RAT-01: with the time after which the next one is taken, and then it is."""
    async with TestCluster([Door]) as cluster:
        door = cluster.get_grain(Door, "a")
        outcomes = await asyncio.gather(*(door.knock() for _ in range(5)), return_exceptions=True)
        assert sorted(each for each in outcomes if isinstance(each, int)) == [1, 2, 3]
        refused = [each for each in outcomes if isinstance(each, Overloaded)]
        assert len(refused) == 2
        assert all(isinstance(each, CallNotExecuted) for each in refused)
        assert "knock takes 3 calls in 10 s" in str(refused[0])
        assert refused[0].retry_after == pytest.approx(10 / 3, abs=0.01)
        assert await door.count() == 3
        await asyncio.sleep(refused[0].retry_after)
        assert await door.knock() == 4
        with pytest.raises(Overloaded):
            await door.knock()


async def test_grains_have_rates_of_their_own_and_reactivation_gives_no_new_one() -> None:
    """RAT-01: the rate of a grain outlives its activation."""
    async with TestCluster([Door]) as cluster:
        for key in "ab":
            assert [await cluster.get_grain(Door, key).knock() for _ in range(3)] == [1, 2, 3]
        activation = cluster.activation(cluster.get_grain(Door, "a"))
        assert activation is not None
        activation.deactivate_when_idle()
        with pytest.raises(Overloaded):
            await cluster.get_grain(Door, "a").knock()


async def test_a_rate_per_caller_is_that_of_a_value_in_the_request_context() -> None:
    """RAT-02: together for all grains of the class in a silo."""
    async with TestCluster([Door], silos=1) as cluster:

        async def ring(user: str, key: str) -> bool:
            request_context["user"] = user
            try:
                await cluster.get_grain(Door, key).ring()
            except Overloaded:
                return False
            return True

        assert [await ring("ann", key) for key in "abc"] == [True, True, False]
        assert [await ring("bob", key) for key in "abc"] == [True, True, False]


async def test_the_refusal_is_the_same_near_and_far() -> None:
    """RAT-03: for a client, a grain of the same silo and one of another."""
    async with TestCluster([Door, Hall], silos=3) as cluster:
        door = cluster.get_grain(Door, "a")
        for _ in range(3):
            await door.knock()
        texts = set()
        for key in "abcdef":
            texts.add(await cluster.get_grain(Hall, key).knock("a"))
        with pytest.raises(Overloaded) as caught:
            await door.knock()
        assert texts == {(str(caught.value), caught.value.retry_after)}


async def test_refusals_are_counted_apart_and_one_way_calls_are_refused_too() -> None:
    """RAT-04: `rate_limited` is their reason in the figures; they are in none of the executed calls."""
    async with TestCluster([Door], silos=1) as cluster:
        door = cluster.get_grain(Door, "a")
        await door.whisper()
        for _ in range(2):
            await door.whisper()  # the caller waits only until the call is handed over
        assert await door.count() == 1
        figures = cluster.silos[0].catalog.hosted["door"].figures
        whisper = next(each for each in figures.methods if each.method == "whisper").snapshot()
        assert whisper.refused == {"rate_limited": 2}
        assert whisper.calls.count == 1


class Gate(GrainInterface):
    @rate_limited(1, seconds=60)
    async def enter(self) -> str: ...


class Turnstile(Grain, Gate):
    @rate_limited(5, seconds=1, per="method")
    async def enter(self) -> str:
        return "in"


async def test_rates_of_an_interface_add_up() -> None:
    """RAT-05: with those of the grain."""
    async with TestCluster([Turnstile]) as cluster:
        gate = cluster.get_grain(Gate, "a")
        assert await gate.enter() == "in"
        with pytest.raises(Overloaded, match="1 call in 60 s"):
            await gate.enter()


@pytest.mark.parametrize(
    ("arguments", "named", "text"),
    [
        ((0,), {}, "calls must be a whole number"),
        ((True,), {}, "calls must be a whole number"),
        ((1, 0), {}, "seconds must be a positive number"),
        ((1,), {"burst": 0}, "burst must be a whole number"),
        ((1,), {"per": "silo"}, 'per must be "grain" or "method"'),
        ((1,), {"caller": " "}, "caller must name a key"),
        ((lambda: None,), {}, r"write @rate_limited\(10\)"),
    ],
)
def test_values_out_of_range_are_refused(arguments: tuple[Any, ...], named: dict[str, Any], text: str) -> None:
    """RAT-06: when the class is defined."""
    with pytest.raises(ConfigurationError, match=text):
        rate_limited(*arguments, **named)


def test_a_rate_on_a_hook_is_refused() -> None:
    """RAT-06: no reference calls it."""
    with pytest.raises(ConfigurationError, match="no effect on a hook"):

        class Hook(Grain):
            @rate_limited(1)
            async def on_activate(self) -> None: ...


class Porter(Grain):
    @rate_limited(3, seconds=10)
    async def knock(self) -> str:
        return self.activation_id

    async def hold(self) -> None:
        self.deactivate_when_idle()
        await asyncio.sleep(1)


async def test_a_call_that_waits_for_the_next_activation_counts_once() -> None:
    """RAT-01: also one that comes from an activation that ends."""
    async with TestCluster([Porter], silos=1) as cluster:
        porter = cluster.get_grain(Porter, "a")
        holding = asyncio.create_task(porter.hold())
        await cluster.advance(0.1)
        activation = cluster.activation(porter)
        assert activation is not None
        calls = [asyncio.create_task(porter.knock()) for _ in range(3)]
        await cluster.advance(0.1)
        assert len(activation.waiting) == 3
        activation.migrate(None, DeactivationReason(DeactivationCode.MOVED, "a test"))
        outcomes = await asyncio.gather(holding, *calls, return_exceptions=True)
        assert len(set(outcomes)) == 2, outcomes
