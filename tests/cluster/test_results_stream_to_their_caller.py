"""Streamed results: items in order, in batches of what is ready, no faster than they are taken (AEN)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from grange import (
    EnumerationAborted,
    Grain,
    GrainId,
    InvalidCall,
    InvalidResult,
    Overloaded,
    PersistentState,
    StorageError,
    request_context,
    with_batch_size,
)
from grange.client.client import Client
from grange.grains.context import context_values
from grange.grains.items import CALLER_KEY
from grange.proto.clients import client_id
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, Committed
from grange.testing.cluster import TestCluster
from tests.cluster.feed import At, Feed, FeedApi, Point, at_feed, fetches, items_of, live  # noqa: F401


async def test_items_arrive_in_order_over_time(feed: At) -> None:
    """AEN-01: five values over time are five values in order, and the generator is closed afterwards."""
    _, grain = feed
    assert await items_of(grain.slowly(5, 2)) == ([0, 1, 2, 3, 4], None)
    assert await grain.seen() == ["begun", "closed"]


async def test_a_stream_without_items_ends(feed: At) -> None:
    """AEN-01: as any async generator."""
    _, grain = feed
    assert await items_of(grain.numbers(0)) == ([], None)


async def test_ready_items_travel_together(feed: At) -> None:
    """AEN-02: fifty values that are ready need fewer than fifty fetches, also in batches of 25."""
    cluster, grain = feed
    assert await items_of(grain.numbers(50)) == (list(range(50)), None)
    assert fetches(cluster, "numbers") == 1
    assert await items_of(with_batch_size(grain.numbers(50), 25)) == (list(range(50)), None)
    assert fetches(cluster, "numbers") <= 1 + 3


async def test_a_long_stream_is_whole(feed: At) -> None:
    """AEN-02: batching is invisible: no gap and no repetition at the ends of batches."""
    _, grain = feed
    for count in (99, 100, 101, 1000):
        assert await items_of(grain.numbers(count)) == (list(range(count)), None)


async def test_a_batch_of_one_is_one_fetch_an_item(feed: At) -> None:
    """AEN-03: n values are n + 1 fetches."""
    cluster, grain = feed
    assert await items_of(with_batch_size(grain.numbers(7), 1)) == (list(range(7)), None)
    assert fetches(cluster, "numbers") == 8


async def test_errors_of_the_generator_keep_their_type(feed: At) -> None:
    """AEN-04: they come after the items before them; a class that is not registered arrives as RemoteError."""
    _, grain = feed
    for after in (0, 3, 100):
        items, error = await items_of(grain.failing(after))
        assert (items, repr(error)) == (list(range(after)), f"ZeroDivisionError('at the end', {after})")
    items, error = await items_of(grain.unknown())
    assert (items, type(error), getattr(error, "args", None)) == ([1], BufferError, ("not registered",))


async def test_a_stream_that_no_item_was_asked_of_begins_nothing(feed: At) -> None:
    """AEN-08: the enumeration starts at the first item, not at the call."""
    cluster, grain = feed
    untouched = grain.numbers(5)
    closed: Any = grain.numbers(5)
    await closed.aclose()
    await cluster.advance(1)
    assert await grain.seen() == []
    assert [item async for item in untouched] == [0, 1, 2, 3, 4]
    with pytest.raises(InvalidCall, match="numbers"):
        grain.numbers()  # type: ignore[call-arg]


async def test_a_slow_generator_never_times_out(feed: At) -> None:
    """AEN-09: signs of life come while there is no item, within the time-out of the method."""
    _, grain = feed
    assert await items_of(grain.slowly(2, 500)) == ([0, 1], None)
    assert await items_of(grain.patiently(60)) == ([1], None)


async def test_the_generator_runs_no_faster_than_its_items_are_taken(feed: At) -> None:
    """AEN-10: back-pressure: it runs at most to the item after the batch."""
    cluster, grain = feed
    items: Any = grain.numbers(10_000)
    assert await anext(items) == 0
    await cluster.advance(5)
    assert len(await grain.seen()) <= 102
    await items.aclose()
    few: Any = with_batch_size(grain.numbers(10_000), 1)
    before = len(await grain.seen())
    assert await anext(few) == 0
    await cluster.advance(5)
    assert len(await grain.seen()) - before <= 3
    await few.aclose()


async def test_batches_are_bounded_in_bytes(feed: At) -> None:
    """AEN-10: large items end a batch early; one that is over the payload limit is refused as a result is."""
    cluster, grain = feed
    items: Any = grain.large(200_000, 50)
    assert len(await anext(items)) == 200_000
    await cluster.advance(1)
    assert (await grain.seen()).count("made") <= 4
    await items.aclose()
    assert len((await items_of(grain.large(1_000_000, 10)))[0]) == 10
    found, error = await items_of(grain.large(5_000_000, 1))
    assert (found, type(error)) == ([], InvalidResult)


async def test_items_of_any_size_up_to_the_limit_travel(feed: At) -> None:
    """AEN-10: a batch of several items is never over the limit of one message, in any order."""
    _, grain = feed
    found, error = await items_of(grain.sizes([4_127_744]))
    assert isinstance(error, InvalidResult), "a few bytes above the largest item"
    most = 4_127_744 - 10
    for sizes in ([200_000, most, 10], [most, most], [10] * 5 + [most] + [10] * 5, [150_000] * 9):
        found, error = await items_of(grain.sizes(sizes))
        assert (list(map(len, found)), error) == (sizes, None)


async def test_items_are_checked_as_results_are(feed: At) -> None:
    """AEN-11: an item that does not fit its annotation is InvalidResult, after the items before it."""
    _, grain = feed
    for after in (0, 5, 150):
        items, error = await items_of(grain.wrong(after))
        assert (items, type(error)) == (list(range(after)), InvalidResult)
        assert "an item" in str(error)


async def test_items_are_copies(feed: At) -> None:
    """AEN-11: a generator that yields one object again and again sends its value at each yield."""
    _, grain = feed
    items, error = await items_of(grain.shared())
    assert items == [Point(0, ["0"]), Point(1, ["0", "1"]), Point(2, ["0", "1", "2"])]
    assert error is None


async def test_the_request_context_of_the_call_stays_with_the_generator(feed: At) -> None:
    """AEN-12: it sees the values of the call, and none of those that the runtime adds."""
    _, grain = feed
    request_context["tenant"] = "acme"
    items = with_batch_size(grain.tenant(), 1)
    assert await anext(items) == "acme ['tenant']"
    request_context["tenant"] = "other"
    assert [item async for item in items] == ["acme ['tenant']"] * 2
    del request_context["tenant"]


async def test_the_batch_size_of_a_stream_is_not_that_of_the_streams_behind_it(feed: At) -> None:
    """AEN-12: what the runtime adds to the context of a call ends with that call."""
    cluster, grain = feed
    source = cluster.get_grain(Feed, "source")
    assert await items_of(with_batch_size(grain.pass_on(source, 50), 1)) == (list(range(50)), None)
    assert fetches(cluster, "numbers") == 1


async def test_two_fetches_at_once_are_told(feed: At) -> None:
    """AEN-02: each item goes to one of them, so only one may ask; a caller without the class can send any request."""
    cluster, _ = feed
    call, grain_id = cluster.client.call_json, GrainId("feed", "f")
    opened = json.loads(await call(grain_id, "slowly", b"[3, 1]"))
    assert (opened["state"], opened["items"]) == (0, [0])
    fetch = json.dumps([opened["$enumeration"], 1]).encode()
    first, second = [
        json.loads(each) for each in await asyncio.gather(*(call(grain_id, "$next.slowly", fetch) for _ in "ab"))
    ]
    assert sorted((each["state"], each["items"], each["note"]) for each in (first, second)) == [
        (0, [1], ""), (2, [], "two fetches at once"),
    ]  # fmt: skip
    assert json.loads(await call(grain_id, "$next.slowly", fetch))["items"] == [2]
    await call(grain_id, "$close.slowly", json.dumps([opened["$enumeration"]]).encode())


async def test_other_requests_run_beside_a_stream(feed: At) -> None:
    """AEN-13: a stream always interleaves, so it blocks no call; and several streams go on side by side."""
    cluster, grain = feed
    first: Any
    second: Any
    first, second = grain.slowly(3, 10), grain.slowly(3, 10)
    waiting = [asyncio.create_task(anext(first)), asyncio.create_task(anext(second))]
    await cluster.advance(1)
    async with asyncio.timeout(1):
        assert await grain.seen() == ["begun", "begun"]
    assert [await task for task in waiting] == [0, 0]
    assert ([item async for item in first], [item async for item in second]) == ([1, 2], [1, 2])


async def test_streams_pass_through_grains(feed: At) -> None:
    """AEN-17: a grain streams from another one, and sums up the items of another one in one turn."""
    cluster, grain = feed
    source = cluster.get_grain(Feed, "source")
    assert await items_of(grain.relay(source)) == ([0, 10, 20], None)
    assert await grain.sum_of(source, 150) == sum(range(150))


async def test_an_interface_streams(feed: At) -> None:
    """AEN-17: callers by an interface get the same items."""
    cluster, _ = feed
    for silo in cluster.silos:
        assert await items_of(silo.get_grain(FeedApi, "f").slowly(3, 1)) == ([0, 1, 2], None)


async def test_live_streams_are_bounded() -> None:
    """AEN-18: by activation and by silo; a further one is Overloaded, and its generator does not begin."""
    options = {"enumerations_per_activation": 2, "enumerations_per_silo": 3}
    async with TestCluster([Feed], silos=1, runtime=options) as cluster:
        first, second = cluster.get_grain(Feed, "a"), cluster.get_grain(Feed, "b")
        held = [with_batch_size(first.numbers(5), 1) for _ in range(2)]
        held.append(with_batch_size(second.numbers(5), 1))
        for items in held:
            await anext(items)
        for grain in (first, second, cluster.get_grain(Feed, "c")):
            with pytest.raises(Overloaded, match="the silo has 3 live"):
                await anext(grain.numbers(1))
        await held.pop().aclose()  # type: ignore[attr-defined]
        with pytest.raises(Overloaded, match="the activation has 2"):
            await anext(first.numbers(1))
        assert await items_of(second.numbers(1)) == ([0], None)
        assert (await first.seen()).count("begun") == 2
        for items in held:
            await items.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("relayed", [True, False])
async def test_one_client_cannot_take_all_streams(relayed: bool) -> None:
    """AEN-18: a bound for each client, whichever gateway it uses; others and grains still find room."""
    async with TestCluster([Feed], silos=2, runtime={"enumerations_per_caller": 2}) as cluster:
        grain = cluster.get_grain(Feed, "f")
        await grain.seen()
        home = cluster.where(grain)
        assert home is not None
        gateway = next(silo for silo in cluster.silos if (silo is home) != relayed).gateway
        if relayed:
            cluster.network.partition("one", home.gateway)
            cluster.network.partition("other", home.gateway)
        async with AsyncExitStack() as clients:
            one, other = [
                await clients.enter_async_context(Client([gateway], transport=cluster.new_transport(name)))
                for name in ("one", "other")
            ]
            held = [with_batch_size(one.get_grain(Feed, "f").numbers(5), 1) for _ in range(2)]
            for items in held:
                await anext(items)
            with pytest.raises(Overloaded, match="the caller has 2 of this silo's live enumerations"):
                await anext(one.get_grain(Feed, "f").numbers(5))
            held.append(with_batch_size(other.get_grain(Feed, "f").numbers(5), 1))
            assert await anext(held[-1]) == 0
            assert await one.get_grain(Feed, "relay").sum_of(grain, 3) == 3
            await held.pop(0).aclose()  # type: ignore[attr-defined]
            assert await items_of(one.get_grain(Feed, "f").numbers(2)) == ([0, 1], None)
            for items in held:
                await items.aclose()  # type: ignore[attr-defined]
        assert home.catalog.deps.enumerations._begun == {}


@pytest.mark.parametrize("relayed", [True, False])
async def test_a_client_cannot_stream_in_the_name_of_another(relayed: bool) -> None:
    """AEN-18: what it says of itself is replaced; one that says nothing is known by its connection."""
    async with TestCluster([Feed], silos=2) as cluster:
        grain = cluster.get_grain(Feed, "f")
        await grain.seen()
        home = cluster.where(grain)
        assert home is not None
        gateway = next(silo for silo in cluster.silos if (silo is home) != relayed)
        if relayed:
            cluster.network.partition("one", home.gateway)
        begun = home.catalog.deps.enumerations._begun
        async with Client([gateway.gateway], transport=cluster.new_transport("one"), name="one") as client:
            me = client_id(client._hello.client_key)
            token = context_values.set({CALLER_KEY: "another"})
            items = client.get_grain(Feed, "f").slowly(5, 1)
            assert await anext(items) == 0
            context_values.reset(token)
            assert begun == {me: 1}
            await items.aclose()  # type: ignore[attr-defined]
            assert begun == {}
            batch = json.loads(await client.call_json(GrainId("feed", "f"), "slowly", b"[2, 1]"))
            assert begun == {f"silo {gateway.address}" if relayed else me: 1}
            await client.call_json(GrainId("feed", "f"), "$close.slowly", json.dumps([batch["$enumeration"]]).encode())
            assert begun == {}


class Ledger(Grain):
    def __init__(self, total: PersistentState[list[int]]) -> None:
        self.total = total

    async def entries(self) -> AsyncIterator[int]:
        for number in range(3):
            self.total.value.append(number)
            await self.total.write()
            yield number

    async def stored(self) -> list[int]:
        return self.total.value


async def test_a_generator_uses_the_state_of_its_grain() -> None:
    """AEN-13: it runs as its activation, between the first item and the last."""
    async with TestCluster([Ledger], silos=2) as cluster:
        ledger = cluster.get_grain(Ledger, "l")
        assert await items_of(ledger.entries()) == ([0, 1, 2], None)
        assert await ledger.stored() == [0, 1, 2]


class Full(MemoryStorage):
    """Refuses the second write."""

    writes = 0

    async def commit(self, changes: ChangeSet) -> Committed:
        self.writes += 1
        if self.writes == 2:
            raise StorageError("the disk is full")
        return await super().commit(changes)


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_generator_that_could_not_store_ends_its_activation(leaves: bool) -> None:
    """AEN-13: as a turn does, also if its caller never asks for the error: no call sees what is only in memory."""
    async with TestCluster([Ledger], silos=1, storage=Full()) as cluster:
        ledger = cluster.get_grain(Ledger, "l")
        entries: Any = ledger.entries()
        assert await anext(entries) == 0
        if leaves:
            await entries.aclose()
        else:
            with pytest.raises((StorageError, EnumerationAborted)):
                await anext(entries)
        assert await ledger.stored() == [0]
