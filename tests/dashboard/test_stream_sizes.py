"""How much a page that is open costs the network: at most 5 KB a second, also with many silos, types and methods."""

from __future__ import annotations

import random
import zlib

import msgspec
import pytest

from grange.dashboard import live
from grange.observability.histogram import Histogram
from grange.observability.snapshot import MethodSnapshot, Snapshot, TypeSnapshot
from grange.testing.loop import VirtualTime
from tests.dashboard.browser import Browser
from tests.dashboard.fakes import FakeCluster, FakeSilo, shown
from tests.dashboard.shown import logged_in

SILOS, TYPES, METHODS, ACTIVE = 6, 30, 6, 0.2

BUDGET = 5_000
"""Bytes a second of one page."""

VIEWS = ["overview", "silos", "silo/silo-1", "types", "type/type-1", "membership", "quiet"]


class Busy(FakeSilo):
    """A silo of which each second a fifth of the methods is called, and other figures move too."""

    def __init__(self, number: int, types: dict[str, str]) -> None:
        super().__init__(number, types)
        self.rng = random.Random(number)
        self.methods = {(name, each): Histogram() for name in types for each in range(METHODS)}

    def snapshot(self) -> Snapshot:
        for times in self.methods.values():
            for _ in range(self.rng.randrange(1, 50) if self.rng.random() < ACTIVE else 0):
                times.observe(self.rng.random() ** 3 / 20)
        types = tuple(
            TypeSnapshot(name, "ring", self.rng.randrange(1000), methods=tuple(self._methods(name)))
            for name in self.types
        )
        return msgspec.structs.replace(super().snapshot(), types=types, in_flight=self.rng.randrange(100))

    def _methods(self, name: str) -> list[MethodSnapshot]:
        frozen = [self.methods[name, each].frozen() for each in range(METHODS)]
        return [MethodSnapshot(f"method_{each}", times, 0, times) for each, times in enumerate(frozen)]


def large() -> FakeCluster:
    cluster = FakeCluster(silos=0)
    types = {f"type-{number}": "ring" for number in range(TYPES)}
    cluster.silos = [Busy(number, types) for number in range(1, SILOS + 1)]
    return cluster


async def received(browser: Browser, view: str, seconds: int, headers: dict[str, str]) -> list[bytes]:
    """What the browser gets as first and then each second."""
    async with browser.stream(f"/api/live?view={view}", headers) as stream:
        return [await stream.raw.get() for _ in range(seconds + 1)]


@pytest.mark.parametrize("view", VIEWS)
async def test_a_page_gets_less_than_its_budget_a_second(time: VirtualTime, view: str) -> None:
    async with shown(large(), time) as dashboard:
        browser = await logged_in(dashboard)
        _, *ticks = await received(browser, view, 30, {"accept-encoding": "gzip, br"})
        assert max(map(len, ticks)) <= BUDGET
        assert sum(map(len, ticks)) / len(ticks) <= BUDGET * 2 / 5, "as the page of the API says"


async def test_each_compressed_message_can_be_read_as_soon_as_it_comes(time: VirtualTime) -> None:
    async with shown(large(), time) as dashboard:
        browser = await logged_in(dashboard)
        unpacker = zlib.decompressobj(wbits=live.GZIP_WINDOW + 16)
        for number, part in enumerate(await received(browser, "types", 5, {"accept-encoding": "gzip"})):
            text = unpacker.decompress(part).decode()
            assert ("event: hello" if number == 0 else "event: tick") in text
            assert text.endswith("\n\n")
        (plain,) = await received(browser, "types", 0, {})
        assert b"event: hello" in plain
