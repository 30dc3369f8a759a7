"""What is asked of the airports beside their totals: which are the worst, and when each gets its next summary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from examples.flights.airport import Airport
from examples.flights.feeder import GrainFactory
from examples.flights.reader import Difference, Totals
from examples.flights.zones import zone_of
from grange.client import Client


async def worst_airports(client: Client, most: int = 10) -> list[str]:
    """The airports with the most minutes late, found by the index: no airport is called, and none is activated."""
    found = client.find_grains(Airport, {}, order_by="minutes_late", descending=True, limit=most)
    return [str(airport.key) async for airport in found]


def minutes_late(totals: Totals) -> dict[str, int]:
    """The minutes late of each airport: those of all flights from there and to there."""
    return {
        code: sum(airport[part]["arrival"]["total"] for part in ("departures", "arrivals"))
        for code, airport in totals["airport"].items()
    }


def difference_of_worst(expected: Totals, worst: list[str]) -> tuple[Difference, ...]:
    """One difference, if these are not the worst airports in order. Airports that are equal come in any order."""
    late = minutes_late(expected)
    wanted, had = sorted(late.values(), reverse=True)[:10], [late.get(code) for code in worst]
    return () if wanted == had else (Difference("airport", "the worst ten", "minutes late", wanted, had),)


async def airports_with_reminder(grains: GrainFactory, airports: Iterable[str]) -> list[str]:
    """Those whose next nightly summary is due at midnight of their own time zone."""
    codes = list(airports)
    due = await asyncio.gather(*(grains.get_grain(Airport, code).next_summary() for code in codes))
    times = [(code, at.astimezone(ZoneInfo(zone_of(code)))) for code, at in zip(codes, due, strict=True) if at]
    return [code for code, at in times if (at.hour, at.minute) == (0, 0)]
