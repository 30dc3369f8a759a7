"""The recipes for ids: each number once, through crashes, lost answers and wrong clocks."""

from __future__ import annotations

import asyncio
import random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.recipes.blocks import Blocks, Numbers
from examples.recipes.snowflake import EPOCH, Snowflake
from examples.recipes.workers import AHEAD, BEHIND, ClockBehind, Worker, Workers
from grange import CallOutcomeUnknown, PersistentState
from grange.testing import TestCluster

NOON = EPOCH + 12 * 3_600_000


class Clock:
    """A clock in milliseconds that a test sets."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def workers() -> Workers:
    return Workers(PersistentState.detached(dict[int, Worker]()))


async def test_numbers_come_in_blocks_of_which_each_is_given_once() -> None:
    async with TestCluster(grains=[Blocks], silos=2) as cluster:
        blocks = cluster.get_grain(Blocks, "orders")
        clients = [Numbers(blocks) for _ in range(3)]
        drawn = await asyncio.gather(*(clients[n % 3].next() for n in range(4_500)))
        assert sorted(drawn) == sorted({*drawn})
        assert await blocks.take(1) == 6_001, "six calls for 4,500 numbers"
        home = cluster.where(blocks)
        assert home is not None
        await cluster.kill(home)
        assert await blocks.take(1) == 6_002
        with pytest.raises(ValueError, match="at least one"):
            await blocks.take(0)


async def test_a_call_without_an_answer_leaves_a_gap_and_no_number_twice() -> None:
    """The block was given, and its answer was lost."""
    async with TestCluster(grains=[Blocks], silos=1) as cluster:
        blocks = cluster.get_grain(Blocks, "x")

        class Lossy:
            lost = 1

            async def take(self, size: int) -> int:
                first = await blocks.take(size)
                if self.lost:
                    self.lost -= 1
                    raise CallOutcomeUnknown("the answer was lost")
                return first

        numbers = Numbers(cast("Blocks", Lossy()), size=10)
        with pytest.raises(CallOutcomeUnknown):
            await numbers.next()
        assert [await numbers.next() for _ in range(10)] == [*range(11, 21)]


async def test_each_generation_of_a_silo_gets_a_number_of_its_own() -> None:
    async with TestCluster(grains=[Workers], silos=2) as cluster:
        ids, clock = list[int](), Clock()
        for _ in range(3):
            silo = cluster.silos[-1]
            snowflake = Snowflake(silo.get_grain(Workers, "ids"), str(silo.address), clock)
            ids += [await snowflake.next() for _ in range(10)]
            await cluster.restart(silo)
        assert {number >> 12 & 1023 for number in ids} == {0, 1, 2}
        assert len({*ids}) == 30
        assert {(number >> 22) + EPOCH for number in ids} == {NOON}


async def test_ids_ascend_while_the_clock_goes_back() -> None:
    clock = Clock()
    snowflake = Snowflake(workers(), "one", clock)
    ids = [await snowflake.next() for _ in range(5_000)]
    clock.now -= BEHIND - AHEAD
    ids += [await snowflake.next() for _ in range(5_000)]
    clock.now += 60_000
    ids.append(await snowflake.next())
    assert ids == sorted({*ids})
    assert (ids[-1] >> 22) + EPOCH == clock.now


async def test_no_id_is_made_while_the_clock_is_far_behind_the_mark() -> None:
    """By the process that made ids at the later time, and by the next one with its number."""
    clock, grain = Clock(), workers()
    first = Snowflake(grain, "one", clock)
    await first.next()
    clock.now += AHEAD - BEHIND - 1
    with pytest.raises(ClockBehind, match=r"5\.0 s behind"):
        await first.next()
    for again in range(2):
        with pytest.raises(ClockBehind):
            await grain.reserve("one", NOON + AHEAD - BEHIND - 1 - again)
    clock.now += 1
    await first.next()


async def test_the_numbers_of_dead_processes_are_used_again_after_their_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.recipes.workers.NUMBERS", 8)
    clock, grain = Clock(), workers()
    first = Snowflake(grain, "one", clock)
    before = await first.next()
    for n in range(1, 8):
        await grain.reserve(f"owner {n}", NOON + 1)
    second = Snowflake(grain, "two", clock)
    after = await second.next()
    assert (before >> 12 & 1023, after >> 12 & 1023) == (0, 0)
    assert (after >> 22) - (before >> 22) == AHEAD + 1
    still = await first.next()
    assert (still >> 12 & 1023, still >> 22) == (0, before >> 22), "the first one may use what it has reserved"
    clock.now += AHEAD + 1
    assert await first.next() >> 12 & 1023 == 1, "and gets another number for more"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_ids_are_unique_under_jumps_of_the_clocks(seed: int, numbers: int) -> None:
    """Few numbers, so that processes take them from each other; clocks that jump; processes that start again."""
    asyncio.run(_draw_ids(random.Random(seed), numbers))


async def _draw_ids(rng: random.Random, numbers: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("examples.recipes.workers.NUMBERS", numbers)
        grain, clocks = workers(), [Clock(NOON + rng.randrange(3_000)) for _ in range(4)]
        makers = [Snowflake(grain, f"{n}.0", clock) for n, clock in enumerate(clocks)]
        drawn: list[int] = []
        for step in range(300):
            n = rng.randrange(4)
            clocks[n].now += rng.choice([0, 0, 1, 20, 900, -500, -3_000, 7_000, -7_000])
            if rng.random() < 0.05:
                makers[n] = Snowflake(grain, f"{n}.{step + 1}", clocks[n])
            try:
                drawn += [await makers[n].next() for _ in range(rng.randrange(1, 5))]
            except ClockBehind:
                clocks[n].now += 2_000
        assert len({*drawn}) == len(drawn) > 100
