"""Each airport gets a summary at its midnight, wherever its grain is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from examples.flights.airport import Airport
from examples.flights.check import totals_of
from examples.flights.flight import Flight
from examples.flights.source import JANUARY
from examples.flights.summary import KEPT, Nights, Summary
from examples.flights.totals import Totals
from examples.flights.zones import EAST, zone_of
from grange.storage.memory import MemoryStorage
from grange.testing import TestCluster

FLIGHT = Flight("20130101UA1545EWR", "N14228", "UA", "EWR", "HNL", False, 2, 11)
A_DAY = 24 * 3600.0
MARGIN = 90.0
"""Seconds in which a silo has learnt that the clock of the store was set, and has delivered what is due."""


BEGIN = 1000.0
"""The time of the loop at which a cluster begins."""


class Clock:
    """The clock of the store: it runs with the cluster, and can be set."""

    def __init__(self, time: datetime) -> None:
        self.ahead = time.timestamp() - BEGIN

    def __call__(self) -> float:
        return self.ahead + asyncio.get_running_loop().time()


async def test_each_airport_gets_a_summary_at_its_midnight() -> None:
    """23:59 in Newark is five hours before midnight in Honolulu. The silo dies in between, and comes again."""
    clock = Clock(datetime(2013, 1, 31, 23, 59, tzinfo=ZoneInfo(EAST)))
    async with TestCluster(grains=[Airport], silos=2, storage=MemoryStorage(clock=clock)) as cluster:
        newark, honolulu = cluster.get_grain(Airport, "EWR"), cluster.get_grain(Airport, "HNL")
        await newark.note_departure(1, FLIGHT)
        await honolulu.note_arrival(1, FLIGHT)
        assert await honolulu.next_summary() == datetime(2013, 2, 1, 10, 0, tzinfo=UTC)
        await cluster.advance(MARGIN)
        assert await newark.summaries() == [Summary("2013-02-01", 1, 0, 11)]
        assert await honolulu.summaries() == []

        home = cluster.where(honolulu)
        assert home is not None
        await cluster.kill(home)
        clock.ahead += 5 * 3600
        await cluster.advance(MARGIN)
        assert cluster.where(honolulu) is not None, "its tick has activated it"
        assert await honolulu.summaries() == [Summary("2013-02-01", 0, 1, 11)]

        clock.ahead += A_DAY
        await cluster.advance(MARGIN)
        assert await newark.summaries() == [Summary("2013-02-01", 1, 0, 11), Summary("2013-02-02", 0, 0, 0)]


async def test_the_reminder_is_set_once() -> None:
    clock = Clock(datetime(2013, 1, 31, 12, tzinfo=UTC))
    storage = MemoryStorage(clock=clock)
    async with TestCluster(grains=[Airport], silos=1, storage=storage) as cluster:
        newark = cluster.get_grain(Airport, "EWR")
        await newark.totals()
        before = await storage.reminders_of(newark.id)
        await cluster.restart(cluster.silos[0])
        await newark.totals()
        assert await storage.reminders_of(newark.id) == before
        assert len(before) == 1


def test_a_tick_that_comes_twice_counts_once() -> None:
    nights, departures, arrivals = Nights(), Totals(), Totals()
    departures.add(FLIGHT)
    assert nights.add("a", "2013-01-01", departures, arrivals)
    assert not nights.add("a", "2013-01-01", departures, arrivals)
    arrivals.add(FLIGHT)
    for number in range(KEPT):
        assert nights.add(f"b{number}", f"2013-01-{number + 2:02}", departures, arrivals)
    assert nights.summaries[0] == Summary("2013-01-02", 0, 1, 11)
    assert [each.arrivals for each in nights.summaries] == [1, *[0] * (KEPT - 1)]


@pytest.mark.parametrize("airport", sorted({*totals_of(JANUARY)["airport"], "ANC"}))
def test_each_airport_has_a_time_zone(airport: str) -> None:
    assert ZoneInfo(zone_of(airport)).utcoffset(datetime(2013, 1, 1)) is not None
    assert (zone_of("JFK"), zone_of("ORD"), zone_of("HNL")) == (EAST, "America/Chicago", "Pacific/Honolulu")
