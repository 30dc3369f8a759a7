"""A grain that streams, and references to it from near and far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from grange import (
    Grain,
    GrainInterface,
    request_context,
    response_timeout,
)
from grange.testing.cluster import TestCluster
from tests.cluster.reached_from import SIDES, reached_from


@dataclass
class Point:
    x: int
    tags: list[str]


class FeedApi(GrainInterface, name="feed_api"):
    def slowly(self, count: int, seconds: float) -> AsyncIterator[int]: ...


class Feed(Grain, FeedApi, errors=[ZeroDivisionError]):
    """Yields, and records what its generators did."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.items: list[Any] = []

    async def seen(self) -> list[str]:
        return self.events

    async def numbers(self, count: int) -> AsyncIterator[int]:
        self.events.append("begun")
        try:
            for number in range(count):
                self.events.append(f"{number}")
                yield number
        finally:
            self.events.append("closed")

    async def slowly(self, count: int, seconds: float) -> AsyncIterator[int]:
        self.events.append("begun")
        try:
            for number in range(count):
                await asyncio.sleep(seconds)
                yield number
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        finally:
            self.events.append("closed")

    @response_timeout(3)
    async def patiently(self, seconds: float) -> AsyncIterator[int]:
        await asyncio.sleep(seconds)
        yield 1

    async def failing(self, after: int) -> AsyncGenerator[int, None]:
        for number in range(after):
            yield number
        raise ZeroDivisionError("at the end", after)

    async def unknown(self) -> AsyncIterator[int]:
        yield 1
        raise BufferError("not registered") from None

    async def wrong(self, after: int) -> AsyncIterator[int]:
        for number in range(after):
            yield number
        yield "text"  # type: ignore[misc]

    async def shared(self) -> AsyncIterator[Point]:
        point = Point(0, [])
        self.items.append(point)
        for number in range(3):
            point.x = number
            point.tags.append(str(number))
            yield point

    async def large(self, size: int, count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            self.events.append("made")
            yield b"x" * size

    async def tenant(self) -> AsyncIterator[str]:
        for _ in range(3):
            yield f"{request_context.get('tenant')} {sorted(request_context)}"
            await asyncio.sleep(1)

    async def end(self) -> None:
        self.deactivate_when_idle()

    async def clean_up(self) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            raise ZeroDivisionError("in the clean-up")

    async def sizes(self, sizes: list[int]) -> AsyncIterator[bytes]:
        for size in sizes:
            yield b"x" * size

    async def fail_late(self) -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.sleep(1000)
        finally:
            raise ZeroDivisionError("in the clean-up")

    async def stubborn(self) -> AsyncIterator[int]:
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                self.events.append("swallowed")
            yield 1

    async def relay(self, source: Feed) -> AsyncIterator[int]:
        async with aclosing(source.slowly(3, 1)) as items:  # type: ignore[type-var]
            async for item in items:
                yield item * 10

    async def pass_on(self, source: Feed, count: int) -> AsyncIterator[int]:
        async for item in source.numbers(count):
            yield item

    async def sum_of(self, source: Feed, count: int) -> int:
        return sum([item async for item in source.numbers(count)])


@pytest.fixture(name="feed", params=SIDES)
async def at_feed(request: pytest.FixtureRequest) -> AsyncIterator[tuple[TestCluster, Feed]]:
    """A feed, and a reference to it from its own silo, from another silo, or from a client of another silo."""
    async with TestCluster([Feed], silos=2) as cluster:
        await cluster.get_grain(Feed, "f").seen()
        async with reached_from(cluster, request.param, Feed, "f") as reference:
            yield cluster, reference
        await cluster.advance(1)
        assert live(cluster) == 0


At = tuple[TestCluster, Feed]


def live(cluster: TestCluster) -> int:
    return sum(hosted.figures.enumerations for silo in cluster.silos for hosted in silo.catalog.hosted.values())


def fetches(cluster: TestCluster, method: str) -> int:
    """How many requests the silos executed for a streamed method, that of its call included."""
    return sum(
        figures.snapshot().calls.count
        for silo in cluster.silos
        for hosted in silo.catalog.hosted.values()
        for figures in hosted.figures.methods
        if figures.method in {method, f"$next.{method}"}
    )


async def items_of(items: AsyncIterator[Any]) -> tuple[list[Any], BaseException | None]:
    """The items until the end, and the error that ended them."""
    found: list[Any] = []
    try:
        async for item in items:
            found.append(item)
    except Exception as error:
        return found, error
    return found, None
