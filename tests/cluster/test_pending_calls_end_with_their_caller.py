"""Many calls are under way, as those of a publisher: each ends, and none is executed after its caller has given it up.

There is no batching publisher; its promises are those of calls (EXT-09).
"""

from __future__ import annotations

import asyncio

import pytest

from grange import CallerClosed, CallError, CallNotExecuted, Grain, Overloaded, always_interleave
from grange.client import Client
from grange.testing import TestCluster


class Topic(Grain, mailbox_limit=5):
    """Takes a second for each message."""

    def __init__(self) -> None:
        self.messages: list[int] = []

    async def publish(self, message: int) -> None:
        await asyncio.sleep(1)
        self.messages.append(message)

    @always_interleave
    async def published(self) -> list[int]:
        return self.messages


async def test_the_calls_of_a_client_that_closes_end_with_an_error() -> None:
    """EXT-09: those that are under way, and those that come later, which are certainly not executed."""
    async with TestCluster([Topic], silos=2) as cluster:
        transport = cluster.new_transport("publisher")
        async with Client([silo.gateway for silo in cluster.silos], transport=transport) as client:
            topic = client.get_grain(Topic, "news")
            pending = [asyncio.create_task(topic.publish(number)) for number in range(5)]
            await cluster.advance(0.5)
        async with asyncio.timeout(1):
            outcomes = await asyncio.gather(*pending, return_exceptions=True)
        assert all(isinstance(outcome, CallError) for outcome in outcomes), outcomes
        with pytest.raises(CallerClosed):
            await topic.publish(9)
        await cluster.advance(10)
        assert 9 not in await cluster.get_grain(Topic, "news").published()


async def test_calls_over_the_limit_are_refused_and_the_others_run_once() -> None:
    """EXT-09: a full queue raises Overloaded."""
    async with TestCluster([Topic], silos=2) as cluster:
        topic = cluster.get_grain(Topic, "news")
        outcomes = await asyncio.gather(*(topic.publish(number) for number in range(10)), return_exceptions=True)
        refused = [number for number, outcome in enumerate(outcomes) if outcome is not None]
        assert len(refused) == 4
        assert all(isinstance(outcomes[number], Overloaded) for number in refused)
        assert sorted([*refused, *await topic.published()]) == [*range(10)]


async def test_a_call_that_is_given_up_while_it_is_repeated_is_not_executed() -> None:
    """EXT-09: its silo has died, and each attempt is refused; the other call is executed once."""
    async with TestCluster([Topic], silos=3) as cluster:
        caller, _, lost = cluster.silos
        ring = lost.directory.topology.ring
        topics = (caller.get_grain(Topic, f"{number}") for number in range(1000))
        topic = next(each for each in topics if ring.owner(each.id.ring_hash) == lost.address)  # type: ignore[attr-defined]
        await cluster.kill(lost)
        given_up, kept = (asyncio.create_task(topic.publish(number)) for number in range(2))
        await cluster.advance(0.5)
        assert not given_up.done()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        while isinstance((await asyncio.gather(kept, return_exceptions=True))[0], CallNotExecuted):
            kept = asyncio.create_task(topic.publish(1))
        await cluster.advance(10)
        assert await topic.published() == [1]
