"""The feed of `make dev`: flights at a steady rate, for ever."""

from __future__ import annotations

import asyncio
import random

from examples.flights.aircraft import Aircraft
from examples.flights.airport import Airport
from examples.flights.carrier import Carrier
from examples.flights.feeder import Feeder
from examples.flights.live import at_rate, look
from grange.testing import TestCluster
from grange.testing.loop import VirtualTime


async def test_flights_come_at_the_rate_and_never_end() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        flights, began = {}, time.time()
        async for number, flight in at_rate(50.0):
            flights[number] = flight
            if number == 30_000:  # beyond the first round
                break
        assert time.time() - began == 600.0
        assert flights[0].aircraft.endswith("-1")
        assert flights[30_000].aircraft.endswith("-2")
        assert len({(each.aircraft, each.id) for each in flights.values()}) > 25_000


async def test_a_look_asks_grains_that_a_flight_has_reached() -> None:
    async with TestCluster(grains=[Aircraft, Airport, Carrier]) as cluster:
        async for _, flight in at_rate(1.0):
            await Feeder(cluster, 1, random.Random(1)).feed([flight])
            await look(cluster.client, flight)
            break
