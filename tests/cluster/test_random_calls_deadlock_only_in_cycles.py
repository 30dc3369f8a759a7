"""Random call graphs: what waits for itself is refused, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grange import Grain
from grange.testing import TestCluster

GRAINS = 6
LONG = 600.0
"""Response time-out of all calls, in seconds: no test lasts so long unless calls wait for each other."""


@dataclass
class Plan:
    """What one call does: it waits, then makes further calls, together or one by one.

    streams: it is a streamed call, whose generator does all that beside the turns of its grain.
    """

    grain: int
    pause: float
    calls: list[Plan]
    together: bool = True
    streams: bool = False


class Actor(Grain[int]):
    async def run(self, plan: Plan) -> int:
        """Run a plan. Returns the number of calls."""
        await asyncio.sleep(plan.pause)
        if plan.together:
            return 1 + sum(await asyncio.gather(*map(self._call, plan.calls)))
        return 1 + sum([await self._call(each) for each in plan.calls])

    async def stream(self, plan: Plan) -> AsyncIterator[int]:
        """Run a plan in a generator. Yields the number of calls, in two parts."""
        yield 1
        yield await self.run(plan) - 1

    async def _call(self, plan: Plan) -> int:
        return await call(self.get_grain(Actor, plan.grain), plan)


async def call(actor: Actor, plan: Plan) -> int:
    """Make the call of a plan. Returns the number of calls."""
    return sum([each async for each in actor.stream(plan)]) if plan.streams else await actor.run(plan)


PAUSES = st.integers(0, 20).map(lambda tenths: tenths / 10)
KEYS = st.integers(0, GRAINS - 1)
PLANS = st.recursive(
    st.builds(Plan, KEYS, PAUSES, st.just([]), st.booleans(), st.booleans()),
    lambda inner: st.builds(Plan, KEYS, PAUSES, st.lists(inner, max_size=2), st.booleans(), st.booleans()),
    max_leaves=6,
)


def _raised(plan: Plan, above: int = -1) -> Plan:
    """The plan with keys that rise along each way; calls that find no higher key are left out."""
    grain = max(plan.grain, above + 1)
    calls = [_raised(each, grain) for each in plan.calls if grain + 1 < GRAINS]
    return Plan(grain, plan.pause, calls, plan.together, plan.streams)


def calls_itself(plan: Plan, waiting: frozenset[int] = frozenset()) -> bool:
    """Whether a way through the plan meets a grain twice: its turn then waits for a call to the same grain.

    A generator is no turn: it holds up no call, and waits for none.
    """
    if plan.streams:
        return any(calls_itself(each, waiting) for each in plan.calls)
    return plan.grain in waiting or any(calls_itself(each, waiting | {plan.grain}) for each in plan.calls)


async def outcomes(todo: list[Plan], silos: int, seed: int) -> tuple[list[int | BaseException], int]:
    """Run all the plans at once. Returns their outcomes, and the number of cycles that were reported."""
    async with TestCluster(grains=[Actor], silos=silos, seed=seed, runtime={"response_timeout": LONG}) as cluster:
        began = asyncio.get_running_loop().time()
        calls = [call(cluster.get_grain(Actor, each.grain), each) for each in todo]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < LONG
        counts = [silo._here("").ports.events.counts["deadlock_found"] for silo in cluster.silos]
        return ended, sum(counts)


ROUNDS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@ROUNDS
@given(st.lists(PLANS.map(_raised), min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 999))
def test_calls_in_one_order_wait_but_are_never_refused(todo: list[Plan], silos: int, seed: int) -> None:
    ended, reported = asyncio.run(outcomes(todo, silos, seed))
    assert reported == 0
    assert all(isinstance(each, int) for each in ended), ended


@ROUNDS
@given(st.lists(PLANS, min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 999))
def test_what_waits_for_itself_is_refused_and_all_else_ends(todo: list[Plan], silos: int, seed: int) -> None:
    ended, reported = asyncio.run(outcomes(todo, silos, seed))
    failed = [each for each in ended if not isinstance(each, int)]
    assert all("DeadlockError" in str(each) for each in failed), failed
    assert all(not isinstance(each, int) for each, plan in zip(ended, todo, strict=True) if calls_itself(plan))
    assert bool(failed) <= bool(reported)


@ROUNDS
@given(PLANS, st.integers(1, 3), st.integers(0, 999))
def test_one_call_at_a_time_is_refused_only_if_it_calls_itself(plan: Plan, silos: int, seed: int) -> None:
    """Without calls side by side there is one chain, and the only cycle is a grain that it meets twice."""
    ended, reported = asyncio.run(outcomes([_one_by_one(plan)], silos, seed))
    assert isinstance(ended[0], int) == (not calls_itself(plan))
    assert bool(reported) == calls_itself(plan)


def _one_by_one(plan: Plan) -> Plan:
    calls = [_one_by_one(each) for each in plan.calls]
    return Plan(plan.grain, plan.pause, calls, together=False, streams=plan.streams)
