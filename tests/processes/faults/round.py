"""One round of one row: a load, a fault, a quiet period, a verdict."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from grange.testing.checks.history import Event, load
from grange.testing.checks.writers import Write, duplicate_window
from tests.processes.faults import verdict
from tests.processes.faults.certificates import CLIENT
from tests.processes.faults.evidence import ExecutedTurn, turns
from tests.processes.faults.load import Orders
from tests.processes.faults.network import HUB
from tests.processes.faults.silos import FaultSilo, ended
from tests.processes.faults.stage import Stage
from tests.processes.faults.steps import ALL, Death, steps
from tests.processes.faults.stores import audited_writes, noted_deaths, stored_totals
from tests.processes.silo_process import PATIENCE, ROOT

DEADLINE = 10.0
"""Response time-out of the load's calls, in seconds."""

DEATH_NOTED_WITHIN = 1.0
"""Seconds within which the store must know a death that the table has. Until then only the dead silo may write."""


class Pace(msgspec.Struct, frozen=True):
    """Times of a round in seconds: before the fault, quiet after it, length of a fault, `outage` of a store."""

    warm: float
    quiet: float
    hold: float
    outage: float


SHORT = Pace(warm=1.0, quiet=1.5, hold=7.0, outage=6.0)
LONG = Pace(warm=3.0, quiet=3.0, hold=30.0, outage=30.0)
AGAIN = Pace(warm=3.0, quiet=3.0, hold=12.0, outage=12.0)


class Round:
    """Rows act on `stage` and report by `figure` and `expect`.

    `failures` are broken promises: they fail the round on any machine. `late` are times over their targets.
    """

    def __init__(self, row: str, number: int, scene: Stage, pace: Pace) -> None:
        self.row = row
        self.number = number
        self.name = f"{row.lower()}-{number}-{scene.rng.randrange(16**4):04x}"
        self.stage = scene
        self.pace = pace
        self.failures: list[str] = []
        self.late: list[str] = []
        self.seconds = 0.0
        self.notes: dict[str, Any] = {}
        self.figures: defaultdict[str, list[float]] = defaultdict(list)
        self.dying: set[str] = set()
        self.history: list[Event] = []
        self.ran: list[ExecutedTurn] = []
        self.writes: list[Write] = []
        self.noted: Mapping[str, float] = {}
        self._load: asyncio.subprocess.Process | None = None
        self._path = scene.folder / f"{self.name}.history.jsonl"

    def expect(self, condition: bool, text: str) -> None:
        """Record a failed pass condition, and go on: one fault may break several."""
        if not condition:
            self.failures.append(text)

    def figure(self, name: str, value: float, most: float | None = None) -> None:
        """Record a measured time. Over `most` it is late; an infinite time is a failure."""
        self.figures[name].append(round(value, 3))
        if most is not None and value > most:
            (self.late if value < float("inf") else self.failures).append(
                f"{name} {value:.3f} s, the target is {most} s"
            )

    def pick(self) -> FaultSilo:
        """Choose a running silo by the seed."""
        return self.stage.rng.choice(self.stage.silos.running)

    async def kill(self, silo: FaultSilo) -> float:
        """SIGKILL; its death is expected. Returns the time of the kill."""
        self.expect_death(silo, -signal.SIGKILL)
        at = time.monotonic()
        silo.signal(signal.SIGKILL)
        await ended(silo)
        return at

    def expect_death(self, silo: FaultSilo, *codes: int) -> None:
        """Declare that the fault must cause the death of this silo, with one of these exit codes."""
        self.dying.add(str(silo.address))
        silo.expected |= set(codes)

    async def declared(self, silo: FaultSilo, since: float, within: float) -> float:
        """Wait until the table shows it dead. Records the seconds after `since`, and returns the time."""
        address = str(silo.address)
        seen = await self.stage.observer.until(lambda each: each.statuses.get(address) == "dead", within + PATIENCE)
        at = verdict.deaths(self.stage.observer.sightings).get(address, seen.t)
        self.figure("declared", at - since, within)
        return at

    async def hold(self, seconds: float) -> None:
        """Let the fault last."""
        await asyncio.sleep(seconds)

    def answering(self, at: float, most: float, waited: float = 0.0) -> None:
        """For a judge: record how long after a time the last call failed or was slow, or `waited` if that is longer."""
        self.figure("grains back", max(waited, verdict.answering_again(self.history, at)), most)

    def steps(self, silo: FaultSilo, at: float) -> float:
        """For a judge: record when each step from the fault of a silo to the answers of its grains was done.

        Returns the seconds of the last one. It sees calls that waited for less than a slow call, so that a cluster
        which is back within a second has a figure.
        """
        logs = {str(each.address): each.lines() for each in self.stage.silos.running}
        death = Death(at, str(silo.address), silo.identity)
        found = steps(death, self.stage.observer.sightings, logs, self.noted, self.history, self.ran)
        for step, seconds in found.items():
            self.figure(step, seconds)
        return found.get(ALL, 0.0)

    def dead_wrote_nothing(self, silo: FaultSilo) -> None:
        """For a judge: check that the store noted this silo's death soon after the table, and took no write since."""
        declared = verdict.deaths(self.stage.observer.sightings)[str(silo.address)]
        noted = self.noted.get(str(silo.address), float("inf"))
        self.figure("death noted in the store", max(0.0, noted - declared), DEATH_NOTED_WITHIN)
        late = [write for write in self.writes if write.silo == silo.identity and write.t > noted]
        self.figures["writes of the dead"].append(len(late))
        self.expect(not late, f"{len(late)} writes of {silo.identity} were accepted after its death was noted")

    def none_failed(self, figure: str) -> None:
        """For a judge: record the calls without a result; there must be none."""
        bad = verdict.errors(verdict.not_ok(self.history))
        self.figures[figure].append(sum(bad.values()))
        self.expect(not bad, f"calls failed: {bad}")

    async def begin(self, rate: float) -> None:
        """Start the load on three silos."""
        await self.stage.settle()
        self._sizes = {path: path.stat().st_size for path in self.stage.silos.turns.glob("*.jsonl")}
        self._seen = len(self.stage.observer.sightings)
        orders = Orders(
            self.stage.gateways,
            self.stage.cluster,
            self.name,
            str(self._path),
            self.stage.rng.randrange(2**32),
            rate,
            tls={} if self.stage.certificates is None else self.stage.certificates.pairs[CLIENT].table(),
        )
        with (self.stage.folder / f"{self.name}.load.log").open("wb") as log:
            self._load = await asyncio.create_subprocess_exec(
                *(*self.stage.network.enter(HUB), sys.executable, "-m", "tests.processes.faults.load"),
                env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._load.stdin is not None
        self._load.stdin.write(msgspec.json.encode(orders) + b"\n")
        await self._load_event("connected")
        self.began = time.monotonic()
        await asyncio.sleep(self.pace.warm)

    async def finish(self) -> None:
        """After the fault has healed: wait under load, end the load, and judge."""
        await self.stage.settle()
        self.healed = time.monotonic()
        await asyncio.sleep(self.pace.quiet)
        self.figure("agreed", await self.stage.agreed())
        await self._end_load()
        await self._judge()

    async def abandon(self) -> None:
        """End the load at once; after an error there is nothing to judge."""
        if self._load is not None and self._load.returncode is None:
            os.kill(self._load.pid, signal.SIGKILL)
            await self._load.wait()

    async def _end_load(self) -> None:
        assert self._load is not None
        assert self._load.stdin is not None
        self._load.stdin.close()
        async with asyncio.timeout(DEADLINE + PATIENCE):
            await self._load_event("ended")
            await self._load.wait()

    async def _judge(self) -> None:
        self.history = load(self._path)
        now = time.monotonic()
        silos = self.stage.silos
        gone = {silo.identity: silo.ended_at for silo in silos.lives if silo.ended_at is not None}
        self.ran = turns(self._turn_lines(), self.name, gone, now)
        connection = await self.stage.postgres.connect()
        try:
            self.writes = await audited_writes(connection, self.name)
            self.noted = await noted_deaths(connection)
            totals = await stored_totals(connection, self.name)
        finally:
            await connection.close()
        found = verdict.invariants(self.history, totals, self.writes, self.ran, DEADLINE)
        sightings = self.stage.observer.sightings
        found += verdict.one_table(sightings)
        self.failures += [str(each) for each in found]
        for invariant in ("I1", "I2", "I3", "I7", "I8"):
            self.figures[f"broken {invariant}"].append(sum(each.invariant == invariant for each in found))
        self.figures["duplicate window"].append(round(duplicate_window(each.turn for each in self.ran), 3))
        self.notes["shared moments"] = len(verdict.shared_moments(self.ran))
        self.notes["calls"] = sum(event.kind == "invoke" for event in self.history)
        self.notes["not ok"] = verdict.errors(verdict.not_ok(self.history))
        self.notes["writes"] = len(self.writes)
        self.notes["alarms"] = self._alarms()
        self._judge_deaths()

    def _alarms(self) -> dict[str, int]:
        """Count the warnings and errors that silos logged since the round began, by event."""
        lines = [line for silo in self.stage.silos.lives for line in silo.lines() if line["t"] >= self.began]
        loud = [line for line in lines if line["level"] in ("warning", "error")]
        return dict(sorted(Counter(line.get("event") or line["msg"][:60] for line in loud).items()))

    def _judge_deaths(self) -> None:
        """I10: no silo is declared dead, and no silo ends, without a reason."""
        before = set(verdict.deaths(self.stage.observer.sightings[: self._seen]))
        died = set(verdict.deaths(self.stage.observer.sightings)) - before
        false = sorted(died - self.dying)
        self.figures["false deaths"].append(len(false))
        self.expect(not false, f"I10: declared dead without reason: {', '.join(false)}")
        for silo in self.stage.silos.lives:
            if silo.ended_at is not None and silo.ended_at >= self.began:
                known = silo.code in silo.expected
                self.expect(known, f"silo {silo.name} ended with {silo.code}: {silo.errors[-600:]}")

    def _turn_lines(self) -> dict[str, list[bytes]]:
        """The lines of every silo since the round began, without a last line that a kill cut off."""
        found: dict[str, list[bytes]] = {}
        for path in self.stage.silos.turns.glob("*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._sizes.get(path, 0))
                found[path.stem] = file.read().split(b"\n")[:-1]
        return found

    async def _load_event(self, word: str) -> None:
        assert self._load is not None
        assert self._load.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self._load.stdout.readline()
        if not line or json.loads(line)["event"] != word:
            log = Path(self.stage.folder / f"{self.name}.load.log").read_text()
            raise AssertionError(f"the load did not print {word!r} but {line!r}: {log[-2000:]}")


Judge = Callable[[], None]
"""The checks of a row after the round, when its history is read."""


class Row(msgspec.Struct, frozen=True):
    """One line of the fault matrix. `run` injects, holds and heals the fault; its judge checks the outcome."""

    id: str
    title: str
    run: Callable[[Round], Awaitable[Judge]]
    cuts: bool = False
    rate: float = 160.0


async def play(row: Row, number: int, scene: Stage, pace: Pace) -> Round:
    """Play one round. Every error is in its `failures`, and the stage is healed in any case."""
    one = Round(row.id, number, scene, pace)
    began = time.monotonic()
    try:
        await one.begin(row.rate)
        judge = await row.run(one)
        await one.finish()
        judge()
    except Exception as error:  # an error in one round must not end a run of an hour
        one.failures.append("".join(traceback.format_exception_only(error)).strip())
    finally:
        await one.abandon()
        await scene.heal()
        one.seconds = round(time.monotonic() - began, 1)
    return one
