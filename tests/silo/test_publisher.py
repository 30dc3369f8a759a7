"""Snapshots for readers in other threads: how often they are made, and that they come while the loop is blocked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from grange.observability.snapshot import Snapshot
from grange.proto.ids import SiloAddress
from grange.silo.publisher import IDLE_PERIOD, WATCHED_PERIOD, Publisher
from grange.testing.loop import VirtualTime


class Made:
    """Makes snapshots and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Snapshot:
        self.count += 1
        now = asyncio.get_running_loop().time()
        return Snapshot(
            address=SiloAddress("127.0.0.1", 1, 1), name="a", cluster="c", release="1", time=now, uptime=now, span=now
        )


@asynccontextmanager
async def publishing() -> AsyncGenerator[tuple[Made, Publisher, VirtualTime]]:
    with VirtualTime(asyncio.get_running_loop()).installed() as clock:
        made = Made()
        publisher = Publisher(made)
        task = asyncio.create_task(publisher.run())
        try:
            yield made, publisher, clock
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_without_a_reader_a_snapshot_is_made_each_ten_seconds() -> None:
    async with publishing() as (made, publisher, clock):
        await clock.advance(3 * IDLE_PERIOD + 1)
        assert made.count == 4
        assert publisher.latest().time == asyncio.get_running_loop().time() - 1


async def test_a_watched_silo_makes_one_each_second_until_the_last_reader_leaves() -> None:
    async with publishing() as (made, publisher, clock):
        with publisher.watch(), publisher.watch():
            await clock.advance(5.5)
        watched = made.count
        assert 5 <= watched <= 7
        await clock.advance(IDLE_PERIOD - 2)
        assert made.count == watched


async def test_a_scrape_gets_a_snapshot_of_at_most_one_second() -> None:
    async with publishing() as (made, publisher, clock):
        await clock.advance(5)
        first, second = publisher.ask(), publisher.ask()
        assert await asyncio.wrap_future(first) is await asyncio.wrap_future(second)
        assert made.count == 2
        assert publisher.latest().time == asyncio.get_running_loop().time()
        await clock.advance(WATCHED_PERIOD / 2)
        await asyncio.wrap_future(publisher.ask())
        assert made.count == 2


async def test_the_newest_snapshot_is_readable_while_the_loop_is_blocked() -> None:
    publisher = Publisher(Made())
    read: list[Snapshot] = []
    reader = threading.Thread(target=lambda: read.append(publisher.latest()))
    reader.start()
    while reader.is_alive():
        time.sleep(0.001)  # this blocks the loop
    assert read == [publisher.latest()]


async def test_a_reader_learns_that_no_snapshot_could_be_made() -> None:
    publisher = Publisher(Made())

    def fail() -> Snapshot:
        raise ValueError("a part is gone")

    publisher._make = fail
    publisher._made_at -= WATCHED_PERIOD
    answer = asyncio.wrap_future(publisher.ask())
    assert isinstance((await asyncio.gather(answer, return_exceptions=True))[0], ValueError)
