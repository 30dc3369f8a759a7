"""Filters see a streamed call once: its items are an async iterator, which they may look at, change or end (FLT)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from grange import (
    Call,
    EnumerationAborted,
    Filter,
    Grain,
    GrainInterface,
    InvalidResult,
    Overloaded,
    PersistentState,
    Proceed,
    StorageError,
    request_context,
    with_batch_size,
)
from grange.client.client import Client
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, Committed
from grange.testing.cluster import TestCluster


class Feed(Grain):
    def __init__(self) -> None:
        self.notes: list[str] = []

    async def numbers(self, count: int) -> AsyncIterator[int]:
        self.notes.append(f"begun by {request_context.get('user', 'no user')}")
        try:
            for number in range(count):
                yield number
        finally:
            self.notes.append("closed")

    async def failing(self) -> AsyncIterator[int]:
        yield 1
        raise LookupError("no more")

    async def seen(self) -> list[str]:
        return self.notes

    async def relay(self, to: Feed, count: int) -> list[int]:
        return [item async for item in to.numbers(count)]


class Negated(Feed, name="negated"):
    """A grain that is its own filter."""

    async def on_call(self, call: Call, proceed: Proceed) -> Any:
        return mapped(await proceed(), lambda item: -item) if call.streams else await proceed()


class FeedApi(GrainInterface):
    def numbers(self, count: int) -> AsyncIterator[int]: ...


class ByContract(Grain, FeedApi):
    async def numbers(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number


async def mapped(items: AsyncIterator[Any], change: Any) -> AsyncIterator[Any]:
    async for item in items:
        yield change(item)


async def doubled(call: Call, proceed: Proceed) -> Any:
    return mapped(await proceed(), lambda item: item * 2) if call.streams else await proceed()


async def plus_one(call: Call, proceed: Proceed) -> Any:
    return mapped(await proceed(), lambda item: item + 1) if call.streams else await proceed()


def client_of(cluster: TestCluster, *filters: Filter) -> Client:
    gateways = [silo.gateway for silo in cluster.silos]
    return Client(gateways, transport=cluster.new_transport("other"), outgoing_filters=filters)


@pytest.mark.parametrize("near", [True, False])
async def test_incoming_filters_change_each_item(near: bool) -> None:
    """FLT-09: the first filter is the outermost, `on_call` the innermost; the value that is delivered is doubled."""
    async with TestCluster([Feed, Negated], silos=1, incoming_filters=[plus_one, doubled]) as cluster:
        place = cluster.silos[0] if near else cluster
        assert [item async for item in place.get_grain(Feed, "a").numbers(3)] == [1, 3, 5]
        assert [item async for item in place.get_grain(Negated, "a").numbers(3)] == [1, -1, -3]


async def test_outgoing_filters_change_each_item() -> None:
    """FLT-09: those of a client and those of a calling grain, also by an interface."""
    async with TestCluster([Feed, ByContract], outgoing_filters=[doubled]) as cluster:
        feed = cluster.get_grain(Feed, "a")
        assert await feed.relay(cluster.get_grain(Feed, "b"), 3) == [0, 2, 4]
        async with client_of(cluster, plus_one, doubled) as client:
            assert [item async for item in client.get_grain(FeedApi, "a").numbers(3)] == [1, 3, 5]


async def test_filters_see_one_call_and_change_its_arguments() -> None:
    """Not its batches: neither the fetches nor the end. Nothing is sent, and no filter runs, before the first item."""
    seen: list[tuple[str, str]] = []

    async def fewer(call: Call, proceed: Proceed) -> Any:
        seen.append((call.direction, call.method))
        if call.streams:
            request_context["user"] = "ann"
            call.replace(count=call.arguments["count"] - 1)
        return await proceed()

    async with TestCluster([Feed], silos=1, incoming_filters=[fewer]) as cluster, client_of(cluster, fewer) as client:
        feed = client.get_grain(Feed, "a")
        items = with_batch_size(feed.numbers(5), 1)
        assert seen == []
        assert [item async for item in items] == [0, 1, 2]
        assert seen == [("outgoing", "numbers"), ("incoming", "numbers")]
        assert "user" not in request_context
        assert await feed.seen() == ["begun by ann", "closed"]


async def test_a_filter_has_the_errors_of_the_generator_in_its_iterator() -> None:
    """FLT-05: so it can turn one into the end of the items."""

    async def until_error(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for item in items:
                yield item
        except LookupError:
            yield 0

    async def forgive(call: Call, proceed: Proceed) -> Any:
        return until_error(await proceed()) if call.streams else await proceed()

    async with TestCluster([Feed], incoming_filters=[forgive]) as cluster:
        assert [item async for item in cluster.get_grain(Feed, "a").failing()] == [1, 0]
    async with TestCluster([Feed]) as cluster, client_of(cluster, forgive) as client:
        assert [item async for item in client.get_grain(Feed, "a").failing()] == [1, 0]


@pytest.mark.parametrize("outgoing", [True, False])
async def test_a_stream_that_is_left_ends_the_iterators_of_its_filters(outgoing: bool) -> None:
    """The outermost first, and the generator last; none of them uses `aclosing`."""
    ended: list[str] = []

    def noting(name: str) -> Filter:
        async def noted(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
            try:
                async for item in items:
                    yield item
            finally:
                ended.append(name)

        async def note(call: Call, proceed: Proceed) -> Any:
            return noted(await proceed()) if call.streams else await proceed()

        return note

    filters = [noting("outer"), noting("inner")]
    incoming, own = ([], filters) if outgoing else (filters, [])
    async with TestCluster([Feed], incoming_filters=incoming) as cluster, client_of(cluster, *own) as client:
        feed = client.get_grain(Feed, "a")
        async with aclosing(with_batch_size(feed.numbers(1000), 1)) as items:  # type: ignore[type-var]
            assert [await anext(items), await anext(items)] == [0, 1]
        assert ended == ["outer", "inner"]
        assert (await feed.seen())[-1] == "closed"


async def test_a_filter_answers_a_streamed_call_without_the_method() -> None:
    async def constant() -> AsyncIterator[int]:
        yield 7

    async def answer(call: Call, proceed: Proceed) -> Any:
        return constant() if call.streams else await proceed()

    async with TestCluster([Feed], silos=1, incoming_filters=[answer]) as cluster:
        feed = cluster.get_grain(Feed, "a")
        assert [item async for item in feed.numbers(3)] == [7]
        assert await feed.seen() == []
    async with TestCluster([Feed]) as cluster, client_of(cluster, answer) as client:
        assert [item async for item in client.get_grain(Feed, "a").numbers(3)] == [7]
        assert cluster.count(Feed) == 0


async def test_what_a_filter_returns_for_a_streamed_call_is_checked() -> None:
    """No list in place of an iterator, and no item that a callee could not have sent."""

    async def as_list(call: Call, proceed: Proceed) -> Any:
        return [item async for item in await proceed()] if call.streams else await proceed()

    async def as_text(call: Call, proceed: Proceed) -> Any:
        return mapped(await proceed(), str) if call.streams else await proceed()

    for wrong, incoming, outgoing in [
        (as_list, TypeError, TypeError),
        (as_text, InvalidResult, TypeError),
    ]:
        async with TestCluster([Feed], incoming_filters=[wrong]) as cluster:
            feed = cluster.get_grain(Feed, "a")
            with pytest.raises(incoming, match=r"async iterator|cannot be sent"):
                await anext(aiter(feed.numbers(3)))
            assert (await feed.seen())[-1:] == ["closed"]
        async with TestCluster([Feed]) as cluster, client_of(cluster, wrong) as client:
            feed = client.get_grain(Feed, "a")
            with pytest.raises(outgoing, match=r"async iterator|does not fit"):
                await anext(aiter(feed.numbers(3)))
            await cluster.advance(0.1)
            assert (await feed.seen())[-1:] == ["closed"]


async def test_what_filters_began_ends_when_the_silo_refuses_the_stream() -> None:
    """A refused enumeration was not begun: what a filter took before is closed."""

    async def peek(call: Call, proceed: Proceed) -> Any:
        items = await proceed()
        if call.streams:
            await anext(items)
        return items

    options = {"enumerations_per_activation": 1}
    async with TestCluster([Feed], silos=1, incoming_filters=[peek], runtime=options) as cluster:
        feed = cluster.get_grain(Feed, "a")
        first = with_batch_size(feed.numbers(9), 1)
        assert await anext(first) == 1
        with pytest.raises(Overloaded):
            await anext(aiter(feed.numbers(9)))
        assert await feed.seen() == ["begun by no user", "begun by no user", "closed"]
        await first.aclose()  # type: ignore[attr-defined]


class FailsOnce(MemoryStorage):
    """The first write fails, and stores nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = False

    async def commit(self, changes: ChangeSet) -> Committed:
        if not self.failed:
            self.failed = True
            raise StorageError("the disk is full")
        return await super().commit(changes)


class Adds(Grain):
    def __init__(self, state: PersistentState[list[int]]) -> None:
        self.state = state

    async def add(self, number: int) -> AsyncIterator[int]:
        self.state.value.append(number)
        yield number
        await self.state.write()

    async def read(self) -> list[int]:
        return self.state.value


async def test_a_filter_cannot_hide_that_a_stream_stored_nothing() -> None:
    """The activation ends with its memory, and its caller is told, although the filter ends the items in peace."""

    async def quiet(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for item in items:
                yield item
        except StorageError:
            return

    async def hide(call: Call, proceed: Proceed) -> Any:
        return quiet(await proceed()) if call.streams else await proceed()

    async with TestCluster([Adds], silos=1, incoming_filters=[hide], storage=FailsOnce()) as cluster:
        adds = cluster.get_grain(Adds, "a")
        with pytest.raises(EnumerationAborted):
            assert [item async for item in adds.add(1)] == [1]
        assert await adds.read() == []
