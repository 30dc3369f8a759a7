"""The ends of streamed results: left early, cancelled, abandoned, and ended with the activation or silo (AEN)."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from typing import Any

import pytest

from grange import (
    EnumerationAborted,
    with_batch_size,
)
from grange.runtime.activations.activation import Activation
from grange.silo import Silo
from grange.testing.cluster import TestCluster
from tests.cluster.feed import At, Feed, FeedApi, Point, at_feed, fetches, items_of, live  # noqa: F401


async def test_a_cancelled_caller_starts_nothing(feed: At) -> None:
    """AEN-05: cancelled before the first item: CancelledError, no generator begins, none is closed."""
    cluster, grain = feed

    async def take() -> list[int]:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return [item async for item in grain.slowly(3, 1)]

    (outcome,) = await asyncio.gather(asyncio.create_task(take()), return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    await cluster.advance(1)
    assert await grain.seen() == []


async def test_a_caller_that_is_cancelled_between_items_ends_the_generator(feed: At) -> None:
    """AEN-05: it has had k values, then CancelledError, and the generator was begun and closed."""
    cluster, grain = feed
    taken: list[int] = []

    async def take() -> None:
        async for item in grain.slowly(100, 2):
            taken.append(item)

    task = asyncio.create_task(take())
    await cluster.advance(7)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    assert (type(outcome), taken) == (asyncio.CancelledError, [0, 1, 2])
    await cluster.advance(0.1)
    assert await grain.seen() == ["begun", "cancelled", "closed"]


@pytest.mark.parametrize("seconds", [0.35, 0.45, 1.0])
async def test_a_cancellation_that_crosses_an_answer_ends_the_generator(seconds: float) -> None:
    """AEN-05: the fetch has been answered, and the answer is on its way: no turn is left to interrupt."""
    async with TestCluster([Feed], silos=2) as cluster:
        home = await home_of(cluster, cluster.get_grain(Feed, "f"))
        grain = next(silo for silo in cluster.silos if silo is not home).get_grain(Feed, "f")
        await grain.seen()
        cluster.network.latency = 0.1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await items_of(with_batch_size(grain.numbers(10_000), 1))
        assert (await grain.seen())[-1] == "closed"
        assert live(cluster) == 0


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.25])
async def test_a_cancellation_that_crosses_the_first_batch_ends_the_generator(seconds: float) -> None:
    """AEN-05: only that batch names the enumeration, so its caller waits for it before it leaves."""
    async with TestCluster([Feed], silos=2) as cluster:
        home = await home_of(cluster, cluster.get_grain(Feed, "f"))
        grain = next(silo for silo in cluster.silos if silo is not home).get_grain(Feed, "f")
        await grain.seen()
        cluster.network.latency = 0.1
        task = asyncio.create_task(items_of(with_batch_size(grain.numbers(10_000), 1)))
        await cluster.advance(seconds)
        task.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError)
        await cluster.advance(1)
        assert live(cluster) == 0


async def test_a_cancellation_at_any_moment_ends_the_generator(feed: At) -> None:
    """AEN-05: from the call until its items are there, and while its caller has not taken them yet."""
    cluster, grain = feed
    for iterations in range(40):
        task = asyncio.create_task(items_of(with_batch_size(grain.numbers(3), 1)))
        for _ in range(iterations):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await cluster.advance(0.1)
        assert live(cluster) == 0, f"cancelled after {iterations} iterations"


async def test_a_cancelled_caller_does_not_wait_for_a_silo_that_is_away() -> None:
    """AEN-05: it tries for a second to say that it has left."""
    async with TestCluster([Feed], silos=2) as cluster:
        home = await home_of(cluster, cluster.get_grain(Feed, "f"))
        other = next(silo for silo in cluster.silos if silo is not home)
        items = with_batch_size(other.get_grain(Feed, "f").slowly(3, 1), 1)
        assert await anext(items) == 0
        cluster.partition(home, other)
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await items_of(items)
        assert asyncio.get_running_loop().time() - began < 3.5
        cluster.heal()


async def test_an_iterator_is_at_its_end_after_a_cancellation(feed: At) -> None:
    """AEN-05: as a generator of this process, into which the cancellation is raised."""
    _, grain = feed
    items = grain.slowly(3, 5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await anext(items)
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_a_generator_that_sleeps_before_its_first_value_is_cancelled(feed: At) -> None:
    """AEN-06: no value is delivered, and the grain records the cancellation."""
    cluster, grain = feed
    task = asyncio.create_task(items_of(grain.slowly(1, 1000)))
    await cluster.advance(45)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    await cluster.advance(0.1)
    assert await grain.seen() == ["begun", "cancelled", "closed"]


@pytest.mark.parametrize("how", ["break", "aclosing", "aclose", "dropped"])
async def test_a_stream_that_is_left_early_closes_its_generator(feed: At, how: str) -> None:
    """AEN-07: by a `break`, at the end of `aclosing`, by `aclose`, or when the iterator is dropped."""
    cluster, grain = feed
    if how == "break":
        async for item in grain.slowly(9, 1):
            if item == 1:
                break
    elif how == "aclosing":
        async with aclosing(grain.slowly(9, 1)) as items:  # type: ignore[type-var]
            assert [await anext(items), await anext(items)] == [0, 1]
        assert (await grain.seen())[-1] == "closed"
    else:
        stream: Any = grain.slowly(9, 1)
        assert [await anext(stream), await anext(stream)] == [0, 1]
        if how == "aclose":
            await stream.aclose()
            assert (await grain.seen())[-1] == "closed"
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
        else:
            del stream
            gc.collect()
    await cluster.advance(0.1)
    assert (await grain.seen())[-1] == "closed"
    assert live(cluster) == 0


async def test_a_live_stream_keeps_its_activation(feed: At) -> None:
    """AEN-14: the idle collector ends no activation whose items are still fetched."""
    cluster, grain = feed
    activation = cluster.activation(grain)  # type: ignore[arg-type]
    assert isinstance(activation, Activation)
    activation.hosted.idle_timeout = 5
    items = with_batch_size(grain.numbers(3), 1)
    assert await anext(items) == 0
    await cluster.advance(200)
    assert cluster.activation(grain) is activation  # type: ignore[arg-type]
    assert [item async for item in items] == [1, 2]
    activation.hosted.idle_timeout = 900


async def test_an_abandoned_stream_is_ended(feed: At) -> None:
    """AEN-15: without a fetch for long it is closed; a caller that comes back all the same is told."""
    cluster, grain = feed
    items = with_batch_size(grain.numbers(3), 1)
    assert await anext(items) == 0
    await cluster.advance(400)
    assert live(cluster) == 0
    assert (await grain.seen())[-1] == "closed"
    with pytest.raises(EnumerationAborted, match="no item was fetched for 300 s"):
        await anext(items)


async def test_an_activation_that_ends_lets_short_streams_end(feed: At) -> None:
    """AEN-16: for a few seconds; no call of a short stream fails because its grain is deactivated."""
    _, grain = feed
    items = grain.slowly(3, 1)
    assert await anext(items) == 0
    await grain.end()
    assert [item async for item in items] == [1, 2]
    assert await grain.seen() == []  # a new activation


async def test_an_activation_that_ends_serves_its_streams_at_once(feed: At) -> None:
    """AEN-16: a fetch does not wait until the ending activation admits other requests again."""
    _, grain = feed
    items = with_batch_size(grain.numbers(20), 1)
    assert await anext(items) == 0
    await grain.end()
    async with asyncio.timeout(0.15):
        assert [item async for item in items] == list(range(1, 20))


async def test_an_activation_that_ends_ends_its_streams_typed(feed: At) -> None:
    """AEN-16: the items so far, then EnumerationAborted; the code of the generator has run to its end."""
    cluster, grain = feed
    activation = cluster.activation(grain)  # type: ignore[arg-type]
    assert activation is not None
    events: list[str] = activation.grain.events
    items = grain.slowly(100, 1)
    assert await anext(items) == 0
    await grain.end()
    found, error = await items_of(items)
    assert found == list(range(1, len(found) + 1))
    assert type(error) is EnumerationAborted
    assert "the grain asked for it" in str(error)
    assert events == ["begun", "cancelled", "closed"]


async def test_a_fetch_activates_no_grain(feed: At) -> None:
    """AEN-16: to fetch from a stream that has ended, or to close it, begins no activation."""
    cluster, grain = feed
    items: Any
    for act in ("fetch", "close"):
        items = with_batch_size(grain.numbers(3), 1)
        assert await anext(items) == 0
        await grain.end()
        await cluster.advance(6)
        assert cluster.activation(grain) is None  # type: ignore[arg-type]
        if act == "fetch":
            with pytest.raises(EnumerationAborted):
                await anext(items)
        else:
            await items.aclose()
        await cluster.advance(1)
        assert cluster.activation(grain) is None  # type: ignore[arg-type]


async def test_an_error_of_the_clean_up_reaches_the_caller_that_closes(feed: At) -> None:
    """AEN-07: as with a generator of this process."""
    _, grain = feed
    items: Any = with_batch_size(grain.clean_up(), 1)
    assert await anext(items) == 1
    with pytest.raises(ZeroDivisionError, match="in the clean-up"):
        await items.aclose()


@pytest.mark.parametrize("how", ["aclose", "break"])
async def test_an_error_that_no_item_led_to_is_not_raised(feed: At, how: str) -> None:
    """AEN-07: the generator runs ahead of its caller, who has not come to what it raised there."""
    cluster, grain = feed
    items: Any = grain.failing(3)
    assert await anext(items) == 0
    await cluster.advance(0.1)
    if how == "aclose":
        await items.aclose()
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
    del items
    gc.collect()
    await cluster.advance(0.1)
    assert (unhandled, live(cluster)) == ([], 0)


async def test_an_error_of_the_clean_up_is_logged_if_its_caller_has_gone(
    feed: At, caplog: pytest.LogCaptureFixture
) -> None:
    """AEN-06: as that of any turn that was cancelled."""
    cluster, grain = feed
    for cancels in (True, False):
        caplog.clear()
        items: Any = with_batch_size(grain.fail_late(), 1)
        assert await anext(items) == 1
        if cancels:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(items)
        else:
            waiting = asyncio.create_task(anext(items))
            await cluster.advance(1)
            await grain.end()
            await cluster.advance(6)
            assert isinstance(await outcome_of(waiting), EnumerationAborted)
        await cluster.advance(1)
        assert [record.getMessage() for record in caplog.records if "fail_late" in record.getMessage()] == [
            "the cancelled turn feed/f.fail_late failed"
        ]


async def outcome_of(call: asyncio.Task[Any]) -> object:
    (outcome,) = await asyncio.gather(call, return_exceptions=True)
    return outcome


async def test_a_generator_that_swallows_its_cancellation_ends(feed: At) -> None:
    """AEN-07: it ends at its next yield."""
    cluster, grain = feed
    items: Any = grain.stubborn()
    assert await anext(items) == 1
    await items.aclose()
    assert (await grain.seen()) == ["swallowed"]
    assert live(cluster) == 0


async def home_of(cluster: TestCluster, grain: Feed) -> Silo:
    await grain.seen()
    home = cluster.where(grain)  # type: ignore[arg-type]
    assert home is not None
    return home


async def test_the_death_of_the_silo_ends_a_stream_typed() -> None:
    """AEN-16: the items so far, then EnumerationAborted, at once when the connection breaks."""
    async with TestCluster([Feed], silos=3) as cluster:
        grain = cluster.get_grain(Feed, "f")
        home = await home_of(cluster, grain)
        items = grain.slowly(1000, 1)
        assert await anext(items) == 0
        killing = asyncio.create_task(cluster.kill(home))
        found, error = await items_of(items)
        await killing
        assert found == list(range(1, len(found) + 1))
        assert type(error) is EnumerationAborted
        assert error.__cause__ is not None


async def test_a_planned_stop_breaks_no_short_stream() -> None:
    """AEN-16: a stop ends an endless stream after a few seconds, and lets a short one end."""
    async with TestCluster([Feed], silos=3) as cluster:
        grain = cluster.get_grain(Feed, "f")
        home = await home_of(cluster, grain)
        short, endless = grain.slowly(3, 1), grain.slowly(100_000, 1)
        assert [await anext(short), await anext(endless)] == [0, 0]
        stopping = asyncio.create_task(cluster.stop(home))
        assert [item async for item in short] == [1, 2]
        _, error = await items_of(endless)
        assert type(error) is EnumerationAborted
        async with asyncio.timeout(20):
            await stopping
        assert await items_of(grain.numbers(2)) == ([0, 1], None)


async def test_a_stream_outlives_a_change_of_the_cluster() -> None:
    """AEN-16: silos that come change the places of grains, and end no enumeration."""
    async with TestCluster([Feed], silos=1) as cluster:
        feeds = [cluster.get_grain(Feed, str(number)) for number in range(20)]
        streams = [with_batch_size(each.numbers(4), 1) for each in feeds]
        assert [await anext(items) for items in streams] == [0] * 20
        await cluster.add_silo()
        await cluster.add_silo()
        assert [await anext(items) for items in streams] == [1] * 20
        assert [[item async for item in items] for items in streams] == [[2, 3]] * 20
