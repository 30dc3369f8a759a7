"""Thousands of calls, activations and expiries in one moment: the loop does a bounded number of them in an iteration.

No test here measures time, which says nothing on a busy machine. They count what happens between two iterations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any

import pytest

from grange import CallTimeout, Grain, PersistentState, response_timeout
from grange.aio.portions import PORTION
from grange.testing import TestCluster

MANY = 15 * PORTION
"""Calls in one moment."""


class Counts:
    """How often `one` was called, at each iteration of the loop while `watch` ran."""

    def __init__(self) -> None:
        self.total = 0
        self._rounds = [0]

    def one(self) -> None:
        self.total += 1

    async def watch(self, work: Awaitable[Any]) -> None:
        """Await `work`, and note the count in each iteration of the loop."""
        working = asyncio.ensure_future(work)
        while not working.done():
            self._rounds.append(self.total)
            await asyncio.sleep(0)
        await working

    @property
    def most(self) -> int:
        """The most in one iteration."""
        return max(after - before for before, after in pairwise([*self._rounds, self.total]))


counts: dict[str, Counts] = {}


class Plain(Grain[int]):
    """Counts its activations."""

    async def on_activate(self) -> None:
        counts["activated"].one()

    async def ping(self) -> None: ...


class Kept(Grain[int]):
    """Counts its activations, which load a state."""

    def __init__(self, words: PersistentState[list[str]]) -> None:
        self.words = words

    async def on_activate(self) -> None:
        counts["activated"].one()

    async def ping(self) -> None: ...


class Stuck(Grain[int]):
    """Answers nothing in time."""

    @response_timeout(5)
    async def ping(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def activated() -> Counts:
    counts["activated"] = Counts()
    return counts["activated"]


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize("cls", [Plain, Kept])
async def test_activations_begin_in_portions(cls: type[Plain | Kept], far: bool, activated: Counts) -> None:
    async with TestCluster([cls], silos=1) as cluster:
        get = cluster.get_grain if far else cluster.silos[0].get_grain
        references = [get(cls, number) for number in range(MANY)]
        await activated.watch(asyncio.gather(*(reference.ping() for reference in references)))
        assert activated.total == MANY
        assert activated.most <= 2 * PORTION


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize("grains", [1, MANY], ids=["one grain", "many grains"])
async def test_calls_expire_in_portions(far: bool, grains: int) -> None:
    expired = Counts()

    async def call(reference: Stuck) -> None:
        with pytest.raises(CallTimeout):
            await reference.ping()
        expired.one()

    async with TestCluster([Stuck], silos=1) as cluster:
        get = cluster.get_grain if far else cluster.silos[0].get_grain
        references = [get(Stuck, number % grains) for number in range(MANY)]
        await expired.watch(asyncio.gather(*(call(reference) for reference in references)))
        assert expired.total == MANY
        assert expired.most <= 2 * PORTION
        await cluster.kill(cluster.silos[0])
