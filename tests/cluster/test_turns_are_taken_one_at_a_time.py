"""Turns and interleaving: one request at a time unless the class or method says otherwise (SCH, REE)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grange import CallTimeout, Grain, Overloaded, always_interleave, read_only, response_timeout
from grange.testing.cluster import TestCluster


class Sum(Grain):
    def __init__(self) -> None:
        self.value = 0
        self.inside = 0
        self.most = 0

    async def add(self, number: int) -> int:
        before = self.value
        await asyncio.sleep(0.1)
        self.value = before + number
        return self.value

    async def multiply(self, number: int) -> int:
        before = self.value
        await asyncio.sleep(0.05)
        self.value = before * number
        return self.value

    async def overlap(self) -> int:
        self.inside += 1
        for _ in range(3):
            self.most = max(self.most, self.inside)
            await asyncio.sleep(0.01)
        self.inside -= 1
        return self.most

    async def spawn(self) -> list[int]:
        seen: list[int] = []

        async def note(number: int) -> None:
            await asyncio.sleep(0)
            seen.append(number)

        for round_ in range(10):
            await asyncio.gather(*(note(10 * round_ + i) for i in range(10)))
        return seen

    async def in_thread(self) -> tuple[bool, bool]:
        import threading

        main = threading.get_ident()
        other = await asyncio.to_thread(threading.get_ident)
        return other != main, threading.get_ident() == main


async def test_requests_run_one_at_a_time_in_order() -> None:
    """SCH-01: add 5 then multiply by 3 from 0 is 15, never 5 or 0."""
    async with TestCluster([Sum]) as cluster:
        grain = cluster.get_grain(Sum, "a")
        assert await asyncio.gather(grain.add(5), grain.multiply(3)) == [5, 15]


async def test_turns_never_overlap_across_awaits() -> None:
    """SCH-02: code after an await belongs to the same turn. Twelve calls from three silos never overlap."""
    async with TestCluster([Sum], silos=3) as cluster:
        grains = [silo.get_grain(Sum, "a") for silo in cluster.silos] * 4
        assert await asyncio.gather(*(grain.overlap() for grain in grains)) == [1] * 12


async def test_tasks_of_a_turn_keep_their_order() -> None:
    """SCH-03: tasks of a turn keep their start order. After awaiting a thread the turn runs in the event loop again."""
    async with TestCluster([Sum]) as cluster:
        assert await cluster.get_grain(Sum, "a").spawn() == list(range(100))
        assert await cluster.get_grain(Sum, "a").in_thread() == (True, True)


class Slow(Grain, reentrant=True):
    @response_timeout(1)
    async def impatient(self) -> int:
        await asyncio.sleep(3)
        return 1

    async def quick(self) -> int:
        return 2


async def test_a_grain_serves_calls_after_others_expired() -> None:
    """SCH-05: ten calls expire at the client, and a new one is served."""
    async with TestCluster([Slow]) as cluster:
        grain = cluster.get_grain(Slow, "a")
        outcomes = await asyncio.gather(*(grain.impatient() for _ in range(10)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [CallTimeout] * 10
        assert await grain.quick() == 2


class Alone(Grain):
    @response_timeout(2)
    async def call_itself(self) -> int:
        return await self.reference.inner()

    @response_timeout(1)
    async def inner(self) -> int:
        return 1


async def test_a_grain_that_calls_itself_waits_for_itself() -> None:
    """REE-01: a non-reentrant self-call only times out, and the activation serves later calls."""
    async with TestCluster([Alone]) as cluster:
        grain = cluster.get_grain(Alone, "a")
        with pytest.raises(Exception, match="timed out: queued at 1") as caught:
            await grain.call_itself()
        assert "CallTimeout" in repr(caught.value) + str(caught.value)
        await cluster.advance(3)
        assert await grain.inner() == 1


class Reentrant(Grain, reentrant=True):
    async def call_itself(self) -> int:
        return await self.reference.inner()

    async def inner(self) -> int:
        return 1

    async def ping(self, other: str, levels: int) -> int:
        return 0 if levels == 0 else 1 + await self.get_grain(Reentrant, other).ping(str(self.key), levels - 1)


async def test_a_reentrant_grain_calls_itself() -> None:
    """REE-02: the call completes."""
    async with TestCluster([Reentrant]) as cluster:
        assert await cluster.get_grain(Reentrant, "a").call_itself() == 1


async def test_reentrant_grains_ping_each_other_deeply() -> None:
    """REE-08: two calls at the same time, each 15 levels deep, complete without a deadlock."""
    async with TestCluster([Reentrant], silos=3) as cluster:
        a, b = cluster.get_grain(Reentrant, "a"), cluster.get_grain(Reentrant, "b")
        assert await asyncio.gather(a.ping("b", 15), b.ping("a", 15)) == [15, 15]


def pings_only(method: str, args: tuple[Any, ...]) -> bool:
    if args and args[0] == "bad":
        raise OverflowError("the predicate failed")
    return method == "ping" and bool(args) and args[0] == "yes"


class ByFunction(Grain, may_interleave=pings_only):
    @response_timeout(2)
    async def hold(self, word: str) -> str:
        return await self.reference.ping(word)

    @response_timeout(1)
    async def ping(self, word: str) -> str:
        return word


class ByMethod(Grain, may_interleave="allows"):
    def allows(self, method: str, args: tuple[Any, ...]) -> bool:
        return pings_only(method, args)

    @response_timeout(2)
    async def hold(self, word: str) -> str:
        return await self.reference.ping(word)

    @response_timeout(1)
    async def ping(self, word: str) -> str:
        return word


@pytest.mark.parametrize("cls", [ByFunction, ByMethod])
async def test_a_predicate_lets_single_requests_interleave(cls: type[ByFunction]) -> None:
    """REE-03: true lets the self-call interleave; false blocks it."""
    async with TestCluster([cls]) as cluster:
        grain = cluster.get_grain(cls, "a")
        assert await grain.hold("yes") == "yes"
        with pytest.raises(Exception, match="timed out"):
            await grain.hold("no")


@pytest.mark.parametrize("cls", [ByFunction, ByMethod])
async def test_an_error_of_the_predicate_reaches_the_caller(cls: type[ByFunction]) -> None:
    """REE-04: the caller gets that error within 2 s, and the activation survives."""
    async with TestCluster([cls]) as cluster:
        grain, loop = cluster.get_grain(cls, "a"), asyncio.get_running_loop()
        assert await grain.ping("x") == "x"
        activation, before = cluster.activation(grain), loop.time()
        with pytest.raises(OverflowError, match="the predicate failed"):
            await grain.ping("bad")
        assert loop.time() - before < 2
        assert await grain.ping("x") == "x"
        assert cluster.activation(grain) is activation


class Library(Grain):
    def __init__(self) -> None:
        self.readers = 0
        self.together = 0
        self.writing = False

    @read_only
    async def read(self) -> int:
        assert not self.writing
        self.readers += 1
        self.together = max(self.together, self.readers)
        await asyncio.sleep(1)
        self.readers -= 1
        return self.together

    async def write(self) -> int:
        assert self.readers == 0
        self.writing = True
        await asyncio.sleep(1)
        self.writing = False
        return self.readers

    @always_interleave
    async def peek(self) -> bool:
        return self.writing


async def test_read_only_methods_overlap_with_each_other_only() -> None:
    """REE-10: five reads overlap, and a write never overlaps with them."""
    async with TestCluster([Library]) as cluster:
        grain = cluster.get_grain(Library, "a")
        results = await asyncio.gather(*(grain.read() for _ in range(5)), grain.write(), grain.read())
        assert max(results) >= 5
        assert results[5] == 0


async def test_always_interleave_runs_during_any_turn() -> None:
    """The marked method runs in the middle of another turn."""
    async with TestCluster([Library]) as cluster:
        grain = cluster.get_grain(Library, "a")
        write = asyncio.create_task(grain.write())
        await cluster.advance(0.5)
        assert await grain.peek() is True
        await write


class Narrow(Grain, mailbox_limit=3):
    async def slow(self) -> int:
        await asyncio.sleep(1)
        return 1


async def test_a_full_mailbox_refuses() -> None:
    """One call runs and three wait. The rest fail at once as not executed, with a time to retry after."""
    async with TestCluster([Narrow]) as cluster:
        grain = cluster.get_grain(Narrow, "a")
        await grain.slow()
        outcomes = await asyncio.gather(*(grain.slow() for _ in range(10)), return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
        assert outcomes.count(1) == 4
        assert len(refused) == 6
        assert all(error.retry_after > 0 for error in refused)
