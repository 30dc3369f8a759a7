"""Thousands of calls, activations and expiries in one moment: the loop does a bounded number of them in an iteration.

No test here measures time, which says nothing on a busy machine. They count what happens between two iterations.
"""

from __future__ import annotations

import asyncio

import pytest

from grange import CallTimeout, Grain, PersistentState, response_timeout
from grange.aio.portions import PORTION
from grange.testing import TestCluster

MANY = 15 * PORTION
"""Calls in one moment."""


class Counts:
    """How often `one` was called: in total, and at most between two iterations of the loop."""

    def __init__(self) -> None:
        self.total = self.most = self._now = 0

    def one(self) -> None:
        if self._now == 0:
            asyncio.get_running_loop().call_soon(self._next)
        self.total += 1
        self._now += 1
        self.most = max(self.most, self._now)

    def _next(self) -> None:
        self._now = 0


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
        await asyncio.gather(*(reference.ping() for reference in references))
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
        await asyncio.gather(*(call(reference) for reference in references))
        assert expired.total == MANY
        assert expired.most <= 2 * PORTION
        await cluster.kill(cluster.silos[0])
