"""The run: start silo processes, feed flights, kill one silo half-way, read every total back and compare it."""

from __future__ import annotations

import asyncio
import random
import secrets
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from examples.flights.check import Expected, totals_of
from examples.flights.feeder import Feeder
from examples.flights.flight import Flight
from examples.flights.pace import Pace
from examples.flights.processes import SiloProcess, SiloProcesses
from examples.flights.queries import airports_with_reminder, difference_of_worst, worst_airports
from examples.flights.reader import Comparison, Totals, compare, read_totals
from examples.flights.source import read_flights
from grange.client import Client
from grange.client.options import ClientOptions
from grange.proto.inspection import FIND, MAX_ROWS, FindActivations, FoundActivations
from grange.proto.management import encode

CLIENT = ClientOptions(connect_timeout=60.0, refresh_period=1.0)
"""Seconds; silos take some seconds to start on a busy machine."""

LIMIT, LIMIT_PER_FLIGHT = 240.0, 0.005
"""Default time limit in seconds: a fixed part, and a part for each flight."""


IN_FLIGHT_AGAIN = 0.02
"""Seconds between the first calls after the pause and the kill, so that calls are in flight when the silo dies."""


@dataclass(frozen=True)
class Options:
    """Options of a run: the file, URLs of membership and state (empty: SQLite in a temporary folder), number of silos,
    calls in flight, and the time limit in seconds (None: enough for this many flights on a slow machine).
    """

    file: Path
    redis: str = ""
    postgres: str = ""
    silos: int = 2
    in_flight: int = 256
    limit: float | None = None

    @property
    def membership(self) -> str:
        """URL of the membership table."""
        return self.redis or self.postgres

    @property
    def storage(self) -> str:
        """URL of the state storage."""
        return self.postgres or self.redis


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    comparison: Comparison
    found: Totals
    pace: Pace
    repeats: Counter[str]
    reading: float
    """Seconds that it took to read every grain back from the fresh silo."""
    worst: list[str]
    """The ten airports with the most minutes late, found by the index."""
    summaries: list[str]
    """The airports whose next nightly summary is set."""
    kept: str
    """The service and cluster name of the data that the run left in your databases; empty if it left none."""


class Display(Protocol):
    """Shows the progress of a run."""

    def log(self, text: str) -> None:
        """Show one line about an event."""
        ...

    def expect(self, flights: int) -> None:
        """Set the number of flights to feed."""
        ...

    def count(self, recorded: int) -> None:
        """Set the number of recorded flights."""
        ...


async def run(options: Options, display: Display) -> Outcome:
    """The whole run, within its time limit. Nothing is left behind, however it ends.

    Raises TimeoutError, SiloFailed, and errors after which the feeder may not repeat.
    """
    expected = totals_of(options.file)
    flights = sum(record["flights"] for record in expected["carrier"].values())
    display.expect(flights)
    with tempfile.TemporaryDirectory(prefix="grange-flights-") as folder:
        limit = options.limit or LIMIT + LIMIT_PER_FLIGHT * flights
        try:
            async with asyncio.timeout(limit), Run(options, display, Path(folder)) as run:
                return await run.go(expected, flights)
        except TimeoutError:
            raise TimeoutError(f"the run was not done within {limit:g} s") from None


class Run:
    """One run while it is under way."""

    def __init__(self, options: Options, display: Display, folder: Path) -> None:
        self._options = options
        self._display = display
        self._loop = asyncio.get_running_loop()
        self._name = f"flights-{secrets.token_hex(4)}"
        self._random = random.Random()
        self._half = asyncio.Event()
        self._watched: frozenset[str] = frozenset()
        self._token = secrets.token_urlsafe(32)  # it lets the client ask the silos for their activations
        configuration = {"GRANGE_CLUSTER": self._name, "GRANGE_SERVICE": self._name, "GRANGE_DATA": str(folder)}
        configuration["GRANGE_ADMIN_TOKEN"] = self._token
        urls = {"GRANGE_MEMBERSHIP": options.membership, "GRANGE_STORAGE": options.storage}
        self._silos = SiloProcesses(folder, configuration | {key: url for key, url in urls.items() if url})

    async def __aenter__(self) -> Run:
        await self._silos.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._silos.__aexit__(None, None, None)

    async def go(self, expected: Expected, flights: int) -> Outcome:
        """Carry out all steps in order."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._silos.watch())
            await self._start_all()
            feeder = await self._feed(flights)
            fresh = await self._replace_all()
            found, reading = await self._read(fresh, expected)
            worst, summaries = await self._ask(fresh, expected)
            await self._silos.stop(fresh)
            watch.cancel()
        kept = self._name if self._options.membership else ""
        comparison = compare(expected, found).with_also(difference_of_worst(expected, worst))
        return Outcome(comparison, found, self._pace, feeder.repeats, reading, worst, summaries, kept)

    async def _start_all(self) -> None:
        await asyncio.gather(*(self._silos.start() for _ in range(self._options.silos)))
        names = ", ".join(f"{silo.name} (process {silo.process.pid})" for silo in self._silos.running)
        self._display.log(f"active: {names}")

    async def _feed(self, flights: int) -> Feeder:
        async with self._client(*self._silos.running) as client, asyncio.TaskGroup() as group:
            await self._until_all_known(client)
            self._pace = Pace(self._loop.time())
            self._feeder = feeder = Feeder(client, self._options.in_flight, self._random, self._recorded)
            self._half_of = flights // 2
            killing = group.create_task(self._kill_one(client))
            await feeder.feed(read_flights(self._options.file))
            await killing
            self._display.count(flights)
        return feeder

    def _recorded(self, flight: Flight, began: float) -> None:
        pace, now = self._pace, self._loop.time()
        pace.acknowledged.append(now)
        recorded = len(pace.acknowledged)
        if recorded >= self._half_of and not self._half.is_set():
            self._half.set()
            self._feeder.pause()  # else, on a busy machine, no flight may be left when the silo is killed
        if recorded % 20 == 0:
            self._display.count(recorded)
        if (
            pace.answered is None
            and flight.aircraft in self._watched
            and pace.killed is not None
            and began > pace.killed
        ):
            pace.answered = now
            self._display.log(f"a grain of the killed silo answers again after {now - pace.killed:.1f} s")

    async def _kill_one(self, client: Client) -> None:
        """Kill a silo half-way by SIGKILL; find out just before which aircraft it runs."""
        await self._half.wait()
        victim = self._silos.running[-1]
        address = next(each for each in client.gateways if each.endpoint == victim.gateway)
        answer = await client.ask(address, FIND, encode(FindActivations("flights.aircraft", limit=MAX_ROWS)))
        living = msgspec.msgpack.decode(answer, type=FoundActivations).rows
        self._watched = frozenset(each.grain_id.key for each in living)
        self._feeder.resume()
        await asyncio.sleep(IN_FLIGHT_AGAIN)
        self._pace.killed = self._loop.time()
        await self._silos.kill(victim)
        recorded = len(self._pace.acknowledged)
        self._display.log(f"{victim.name} killed (SIGKILL, process {victim.process.pid}) after {recorded:,} flights")

    async def _replace_all(self) -> SiloProcess:
        """Start a fresh silo and stop all others in order, so that the next reads come from storage."""
        old = list(self._silos.running)
        fresh = await self._silos.start()
        for silo in old:
            await self._silos.stop(silo)
        self._display.log(f"{fresh.name} started, {', '.join(silo.name for silo in old)} stopped in order (SIGTERM)")
        return fresh

    async def _read(self, fresh: SiloProcess, expected: Totals) -> tuple[Totals, float]:
        began = self._loop.time()
        async with self._client(fresh) as client:
            found = await read_totals(client, expected)
        return found, self._loop.time() - began

    async def _ask(self, fresh: SiloProcess, expected: Totals) -> tuple[list[str], list[str]]:
        async with self._client(fresh) as client:
            return await worst_airports(client), await airports_with_reminder(client, expected["airport"])

    def _client(self, *silos: SiloProcess) -> Client:
        return Client([silo.gateway for silo in silos], cluster=self._name, options=CLIENT, token=self._token)

    async def _until_all_known(self, client: Client) -> None:
        """Wait until the client knows all silos, so that it calls each grain on its silo."""
        wanted = {silo.gateway for silo in self._silos.running}
        while True:
            if wanted <= {gateway.endpoint for gateway in client.gateways}:
                return
            await asyncio.sleep(0.05)
