"""Filters run the method in its turn: at most one run at a time, none after the turn, and none that is only begun."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from grange import Call, Filter, Grain, Proceed, cancellable, with_batch_size
from grange.testing.cluster import TestCluster
from tests.cluster.feed import Feed, items_of


class Desk(Grain):
    """Takes a while for each call, and counts how many of its turns run at once."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.ends: list[str] = []

    @cancellable
    async def work(self, seconds: float) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(seconds)
            self.ends.append("completed")
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        finally:
            self.running -= 1
        return "done"

    async def rest(self) -> None: ...

    async def seen(self) -> tuple[int, list[str]]:
        return self.most, self.ends


def around_work(act: Callable[[Proceed], Awaitable[Any]]) -> Filter:
    async def each(call: Call, proceed: Proceed) -> Any:
        return await act(proceed) if call.method in ("work", "rest") else await proceed()

    return each


async def outcome_of(call: Awaitable[Any]) -> object:
    (outcome,) = await asyncio.gather(call, return_exceptions=True)
    return outcome


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("direction", ["incoming_filters", "outgoing_filters"])
async def test_a_proceed_that_is_not_awaited_is_an_error(direction: str) -> None:
    """The method has not run, so None is no answer to its caller."""

    async def forget(proceed: Proceed) -> None:
        proceed()

    filters: dict[str, Any] = {direction: [around_work(forget)]}
    async with TestCluster([Desk], silos=1, **filters) as cluster:
        desk = cluster.silos[0].get_grain(Desk, "a")
        with pytest.raises(RuntimeError, match=r"neither awaited .* nor returned a result"):
            await desk.rest()


async def test_a_method_does_not_run_twice_at_once() -> None:
    """A filter that proceeds while it proceeds gets an error; the method that runs completes."""

    async def both(proceed: Proceed) -> Any:
        first, second = await asyncio.gather(proceed(), proceed(), return_exceptions=True)
        assert isinstance(second, RuntimeError)
        assert "await proceed() before it proceeds again" in str(second)
        return first

    async with TestCluster([Desk], silos=1, incoming_filters=[around_work(both)]) as cluster:
        desk = cluster.get_grain(Desk, "a")
        assert await desk.work(5) == "done"
        assert await desk.seen() == (1, ["completed"])


async def test_calls_of_an_outgoing_filter_may_overlap() -> None:
    """Each is a call of its own: a filter may ask again before the first answer is there."""

    async def hedge(proceed: Proceed) -> Any:
        asked = [asyncio.ensure_future(proceed()) for _ in range(2)]
        return (await asyncio.gather(*asked))[0]

    async with TestCluster([Desk], silos=1, outgoing_filters=[around_work(hedge)]) as cluster:
        desk = cluster.silos[0].get_grain(Desk, "a")
        assert await desk.work(1) == "done"
        assert await desk.seen() == (1, ["completed", "completed"])


async def leave(proceed: Proceed) -> str:
    await asyncio.wait({asyncio.ensure_future(proceed())}, timeout=1)
    return "too slow"


async def fail_beside(proceed: Proceed) -> Any:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise LookupError("beside the method")

    return await asyncio.gather(proceed(), fail())


@pytest.mark.parametrize(
    ("act", "error"),
    [(leave, r"returned before the end of proceed\(\); await it"), (fail_beside, "beside the method")],
)
async def test_no_method_runs_on_after_its_filters(act: Callable[[Proceed], Awaitable[Any]], error: str) -> None:
    """What a filter leaves running is cancelled, and the turn ends after it: the next one finds the grain alone."""
    async with TestCluster([Desk], silos=1, incoming_filters=[around_work(act)]) as cluster:
        desk = cluster.get_grain(Desk, "a")
        for _ in range(2):
            with pytest.raises((RuntimeError, LookupError), match=error):
                await desk.work(50)
        await cluster.advance(100)
        assert await desk.seen() == (1, ["cancelled", "cancelled"])


async def test_a_cancellation_reaches_a_method_in_a_task_of_its_filter() -> None:
    """The filter is interrupted while it waits for the task, and leaves the task behind."""
    async with TestCluster([Desk], silos=1, incoming_filters=[around_work(leave)]) as cluster:
        desk = cluster.get_grain(Desk, "a")
        call = asyncio.create_task(desk.work(50))
        await cluster.advance(0.5)
        call.cancel()
        assert isinstance(await outcome_of(call), asyncio.CancelledError)
        await cluster.advance(0.1)
        assert await desk.seen() == (1, ["cancelled"])


@pytest.mark.parametrize("direction", ["incoming_filters", "outgoing_filters"])
async def test_the_call_of_a_streamed_method_is_filtered_and_its_fetches_are_not(direction: str) -> None:
    """A filter that repeats what failed would otherwise repeat a fetch, and lose the items of the one before."""
    seen: list[str] = []

    async def look(call: Call, proceed: Proceed) -> Any:
        seen.append(call.method)
        return await proceed()

    filters: dict[str, Any] = {direction: [look]}
    async with TestCluster([Feed], silos=1, **filters) as cluster:
        feed = cluster.silos[0].get_grain(Feed, "a")
        assert await items_of(with_batch_size(feed.numbers(3), 1)) == ([0, 1, 2], None)
        items: Any = with_batch_size(feed.numbers(3), 1)
        assert await anext(items) == 0
        await items.aclose()
    assert seen == ["numbers", "numbers"]


@pytest.mark.parametrize("answer", [None, [1, 2]])
@pytest.mark.parametrize("direction", ["incoming_filters", "outgoing_filters"])
async def test_a_filter_answers_a_streamed_method_with_an_iterator_only(direction: str, answer: object) -> None:
    """What it returns is what the caller iterates over."""

    async def cached(call: Call, proceed: Proceed) -> Any:
        call.skip()
        return answer

    filters: dict[str, Any] = {direction: [cached]}
    async with TestCluster([Feed], silos=1, **filters) as cluster:
        for caller in (cluster.silos[0], cluster) if direction == "incoming_filters" else (cluster.silos[0],):
            items, raised = await items_of(caller.get_grain(Feed, "a").numbers(3))
            assert (items, type(raised)) == ([], TypeError)
            assert "a filter must return one" in str(raised)
