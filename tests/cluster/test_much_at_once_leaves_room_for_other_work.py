"""Thousands of calls, activations and expiries in one moment: the loop does a bounded number of them in an iteration.

No test here measures time, which says nothing on a busy machine. They count what happens between two iterations.
"""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from grange import CallError, CallTimeout, ConnectionLost, Grain, PersistentState, response_timeout
from grange.aio.portions import PORTION
from grange.client import Client
from grange.grains.deactivation import DeactivationReason
from grange.proto.acts import ACT, Act, Acted, Action
from grange.runtime.activations.phase import Phase
from grange.testing import TestCluster

COLLECT = msgspec.msgpack.encode(Act(Action.COLLECT, values='{"idle": 1}', reason="a test"))

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


class Bare(Grain[int]):
    """Counts its activations, which wait for nothing."""

    def __init__(self) -> None:
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
@pytest.mark.parametrize("cls", [Bare, Plain, Kept])
async def test_activations_begin_in_portions(cls: type[Bare | Plain | Kept], far: bool, activated: Counts) -> None:
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


class Watched(Grain[int]):
    """Counts its ends."""

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        counts["ended"].one()

    async def ping(self) -> None: ...


async def fill(cluster: TestCluster, cls: type[Plain | Watched]) -> None:
    await asyncio.gather(*(cluster.silos[0].get_grain(cls, number).ping() for number in range(MANY)))


@pytest.mark.parametrize("command", [False, True], ids=["idle", "command"])
async def test_idle_activations_end_in_portions(command: bool) -> None:
    ended = counts["ended"] = Counts()
    async with TestCluster([Watched], silos=1) as cluster:
        await fill(cluster, Watched)
        await cluster.advance(2)
        if command:
            answer = await ask_here(cluster, ACT, COLLECT)
            assert msgspec.msgpack.decode(answer, type=Acted).count == MANY
            await cluster.advance(10)
        else:
            await cluster.advance(1000)
        assert cluster.count() == 0
        assert ended.total == MANY
        assert ended.most <= 2 * PORTION


async def test_an_activation_that_is_used_before_its_turn_to_be_collected_stays() -> None:
    counts["ended"] = Counts()
    async with TestCluster([Watched], silos=1) as cluster:
        await fill(cluster, Watched)
        await cluster.advance(2)
        last = cluster.silos[0].get_grain(Watched, MANY - 1)
        await asyncio.gather(ask_here(cluster, ACT, COLLECT), last.ping())
        await cluster.advance(10)
        assert cluster.count() == 1


@pytest.mark.parametrize("grains", [1, 15, MANY], ids=["one grain", "some grains", "many grains"])
async def test_calls_to_a_killed_silo_fail_in_portions(grains: int) -> None:
    failed = Counts()

    async def call(reference: Stuck) -> None:
        with pytest.raises(CallError):
            await reference.ping()
        failed.one()

    async with TestCluster([Stuck], silos=1) as cluster:
        silo = cluster.silos[0]
        calls = asyncio.gather(*(call(silo.get_grain(Stuck, number % grains)) for number in range(MANY)))
        await cluster.advance(1)
        await cluster.kill(silo)
        await calls
        assert failed.total == MANY
        assert failed.most <= 3 * PORTION


async def test_calls_of_a_client_that_closes_fail_in_portions() -> None:
    failed = Counts()

    async def call(reference: Stuck) -> None:
        with pytest.raises(ConnectionLost):
            await reference.ping()
        failed.one()

    async with TestCluster([Stuck], silos=1) as cluster:
        async with Client([cluster.silos[0].gateway], transport=cluster.new_transport("other")) as client:
            calls = asyncio.gather(*(call(client.get_grain(Stuck, number % 10)) for number in range(MANY)))
            await cluster.advance(1)
        await calls
        assert failed.total == MANY
        assert failed.most <= 2 * PORTION
        await cluster.kill(cluster.silos[0])


async def test_no_turn_starts_in_a_killed_silo_while_its_activations_are_freed() -> None:
    async with TestCluster([Plain], silos=1) as cluster:
        silo = cluster.silos[0]
        await fill(cluster, Plain)
        activations = list(silo.catalog.activations())
        kill = asyncio.create_task(cluster.kill(silo))
        await asyncio.sleep(0)
        while not any(each.phase is Phase.GONE for each in activations):
            await asyncio.sleep(0)
        assert all(each.phase is Phase.GONE for each in activations)
        assert silo.catalog.counts()  # most of them are not freed yet
        await kill
        assert not silo.catalog.counts()


async def ask_here(cluster: TestCluster, service: str, question: bytes) -> bytes:
    """Ask the first silo as an operator does, through its gateway."""
    answer: bytes = await cluster.client.ask(cluster.client.gateways[0], service, question)
    return answer
