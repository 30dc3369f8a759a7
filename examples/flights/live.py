"""`python -m examples.flights.live GATEWAYS`: feeds the flights of January again and again, at a steady rate.

`make dev` runs it beside the silos, so that the dashboard moves. Each round has aircraft of its own, so that all its
flights are new.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator
from itertools import count

import click
import uvloop

from examples.flights.airport import Airport
from examples.flights.carrier import Carrier
from examples.flights.feeder import Feeder
from examples.flights.flight import Flight
from examples.flights.source import JANUARY, read_flights
from grange.client import Client
from grange.client.options import ClientOptions

CLIENT = ClientOptions(connect_timeout=60.0)
LOOKS_EVERY = 25
"""Flights between two questions for the totals of an airport and a carrier."""


@click.command()
@click.argument("gateways")
@click.option("--rate", type=click.FloatRange(min=0.1), default=100.0, show_default=True, help="Flights a second.")
@click.option("--cluster", default="default", show_default=True)
def main(gateways: str, rate: float, cluster: str) -> None:
    """Feed flights to a cluster until this is stopped. GATEWAYS: host:port, separated by commas."""
    try:
        uvloop.run(feed(gateways.split(","), rate, cluster))
    except KeyboardInterrupt:
        return


async def feed(gateways: list[str], rate: float, cluster: str) -> None:
    """Feed flights for ever."""
    async with (
        Client(gateways, cluster=cluster, name="flights", options=CLIENT) as client,
        asyncio.TaskGroup() as group,
    ):
        feeder = Feeder(client, 1, random.Random())
        async for number, flight in at_rate(rate):
            group.create_task(feeder.feed([flight]))
            if number % LOOKS_EVERY == 0:
                group.create_task(look(client, flight))


async def look(client: Client, flight: Flight) -> None:
    """Ask for the totals of a flight's airport and carrier, as a page about them would."""
    await client.get_grain(Airport, flight.origin).totals()
    await client.get_grain(Carrier, flight.carrier).totals()


async def at_rate(rate: float) -> AsyncIterator[tuple[int, Flight]]:
    """Yield numbered flights at a rate (per second), round after round."""
    flights = list(read_flights(JANUARY))
    begun, number = asyncio.get_running_loop().time(), 0
    for round_number in count(1):
        for flight in flights:
            await asyncio.sleep(begun + number / rate - asyncio.get_running_loop().time())
            yield number, dataclasses.replace(flight, aircraft=f"{flight.aircraft}-{round_number}")
            number += 1


if __name__ == "__main__":
    main()
