"""The outbox recipe: each event has its effect once, with two consumers, while stores, consumers and silos fail."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.recipes.inbox import Report, Seen
from examples.recipes.outbox import PATIENCE, Event, Shop, consume
from grange import GrangeError, StorageUnavailable
from grange.testing import TestCluster
from tests.examples.crashing import Unreliable


async def sell(shop: Shop, items: int) -> int:
    """Sell, and repeat nothing; returns how many answered."""
    sold = 0
    for n in range(items):
        try:
            await shop.sell(f"item {n}")
            sold += 1
        except GrangeError:
            await asyncio.sleep(0.1)
    return sold


async def consume_for_ever(shop: Shop, report: Report, rng: random.Random) -> None:
    """A consumer that crashes now and then between any two steps, and starts again."""

    async def handle(event: Event) -> None:
        if rng.random() < 0.1:
            raise ConnectionError("before the effect")
        await asyncio.sleep(rng.random())
        await report.note(event)
        if rng.random() < 0.1:
            raise ConnectionError("after the effect")

    while True:
        try:
            await consume(shop, handle)
        except (ConnectionError, GrangeError):
            await asyncio.sleep(1)


@pytest.mark.parametrize("seed", range(4))
async def test_each_event_has_its_effect_once(seed: int) -> None:
    rng, storage = random.Random(seed), Unreliable()
    storage.fail_at_random(rng, 0.1)
    async with TestCluster(grains=[Shop, Report], silos=3, storage=storage, seed=seed) as cluster:
        shop, report = cluster.get_grain(Shop, "corner"), cluster.get_grain(Report, "corner")
        consumers = [asyncio.create_task(consume_for_ever(shop, report, rng)) for _ in range(2)]
        selling = asyncio.create_task(sell(shop, 60))
        await cluster.advance(5)
        await cluster.kill(cluster.silos[0])
        sold = await selling
        await cluster.advance(10 * PATIENCE)
        for consumer in consumers:
            consumer.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
        lines = await report.lines()
        assert len(lines) == len({*lines}) >= sold > 40, "a sale without an answer may have happened"
        assert await shop.take() is None
        stock = (await storage.read(shop.id, "state")).payload
        assert stock is not None
        assert stock.count(b'"item ') == len(lines), "each sale has its event, and each event its sale"


async def test_the_change_and_its_event_are_stored_together_or_not_at_all() -> None:
    storage = Unreliable()
    async with TestCluster(grains=[Shop], silos=1, storage=storage) as cluster:
        shop = cluster.get_grain(Shop, "corner")

        async def fail(_: object) -> None:
            raise StorageUnavailable("the database is away")

        storage.before = fail
        with pytest.raises(StorageUnavailable):
            await shop.sell("pear")
        assert await shop.take() is None


async def test_an_event_is_handed_to_one_consumer_until_its_time_is_over() -> None:
    async with TestCluster(grains=[Shop], silos=1) as cluster:
        shop = cluster.get_grain(Shop, "corner")
        await shop.sell("pear")
        assert await shop.take() == Event(1, 1, "sold pear")
        assert await shop.take() is None
        await cluster.advance(PATIENCE)
        assert await shop.take() == Event(1, 1, "sold pear")
        await shop.finish(1)
        await shop.finish(1)
        await cluster.advance(PATIENCE)
        assert await shop.take() is None


@given(st.lists(st.tuples(st.integers(1, 8), st.booleans()), max_size=60))
def test_an_inbox_forgets_only_what_cannot_come_again(deliveries: list[tuple[int, bool]]) -> None:
    """A delivery may be acknowledged, which removes the event; a copy that is on its way may still come much later."""
    seen, waiting, entered = Seen(), {*range(1, 9)}, list[int]()
    copies: dict[int, Event] = {}
    for number, acknowledged in deliveries:
        if number in waiting:
            copies[number] = Event(number, min(waiting), "")
        if seen.enter(copies[number]):
            entered.append(number)
        if acknowledged:
            waiting.discard(number)
        assert seen.handled <= {*range(seen.below, 9)}
    assert len(entered) == len({*entered})
    assert {*entered} == {number for number, _ in deliveries}
