"""Many reminders on one silo: `python -m benchmarks.reminders`. By default 100,000, of which 1,000 are due a second.

Fills the store, starts a silo, and tells how late the ticks are, how many come in a second, and what they cost. The
store is a Postgres of its own without fsync, or `--store memory`, `--store sqlite` or the address of any other.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from grange import Grain, Tick
from grange.proto.ids import GrainId
from grange.reminders.entry import Entry, encode_entry
from grange.reminders.schedule import SECOND, Schedule
from grange.servers.postgres import postgres_server
from grange.silo import Silo
from grange.storage.provider import ReminderStorage, SetStorage, offered
from grange.storage.sets import ChangeSet, ReminderChange, ReminderRow, slot_of
from grange.storage.urls import open_storage
from grange.testing.postgres import fresh_database

BATCH = 500
"""Rows of one change set while the store is filled."""


class Alarm(Grain[int]):
    """A grain with one reminder."""

    async def on_reminder(self, tick: Tick) -> None:
        """Do nothing: the figures are those of the silo."""


async def fill(url: str, count: int, period: float) -> None:
    """Store so many reminders, due at random within the first period from five seconds from now."""
    dice = random.Random(1)
    async with open_storage(url, "default") as storage:
        sets, rows = offered(storage, SetStorage), offered(storage, ReminderStorage)
        assert sets is not None, "a store without change sets"
        assert rows is not None, "a store without reminders"
        start = await rows.now() + 5 * SECOND
        for first in range(0, count, 10 * BATCH):
            changes = [_change(number, start, period, dice) for number in range(first, min(first + 10 * BATCH, count))]
            parts = [tuple(changes[place : place + BATCH]) for place in range(0, len(changes), BATCH)]
            await asyncio.gather(*(sets.commit(ChangeSet(None, reminders=part)) for part in parts))


def _change(number: int, start: int, period: float, dice: random.Random) -> ReminderChange:
    grain_id, due = GrainId("alarm", str(number)), start + int(dice.random() * period * SECOND)
    entry = encode_entry(Entry(f"r{number}", Schedule(due, every=int(period * SECOND)), due))
    row = ReminderRow(grain_id, "r", slot_of(grain_id), due, entry, f"{number:024x}")
    return ReminderChange(grain_id, "r", None, row)


async def measure(url: str, seconds: float) -> dict[str, Any]:
    """Run a silo on this store, and return its figures for so many seconds after the first ones."""
    silo = Silo([Alarm], storage=url, membership="memory://", port=0, gateway_port=0)
    async with silo:
        await asyncio.sleep(10)
        before, cpu, began = silo.inspection.figures.snapshot().reminders, time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        after, took = silo.inspection.figures.snapshot().reminders, time.monotonic() - began
        cpu = time.process_time() - cpu
        late, ticks = after.lateness.since(before.lateness), after.delivered - before.delivered
        return {
            "ticks_per_second": round(ticks / took, 1),
            "late_p50_ms": _ms(late.quantile(0.5)),
            "late_p99_ms": _ms(late.quantile(0.99)),
            "late_over_1s": late.over(1.0),
            "cpu_us_per_tick": round(cpu / max(1, ticks) * 1e6),
            "cpu_share": round(cpu / took, 3),
            "loaded": after.loaded,
            "failed": after.failed + after.refused + after.missed,
        }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


@asynccontextmanager
async def store(given: str) -> AsyncIterator[str]:
    """The address of the store."""
    if given == "postgres":
        with postgres_server() as server:
            async with fresh_database(server) as address:
                yield address
    elif given == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/reminders.db"
    else:
        yield given


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All steps."""
    async with store(options.store) as url:
        began = time.monotonic()
        await fill(url, options.reminders, options.period)
        filled = round(options.reminders / (time.monotonic() - began))
        return {"store": options.store, "stored_per_second": filled, **await measure(url, options.seconds)}


def main(arguments: list[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="postgres", help="postgres, sqlite, or an address")
    parser.add_argument("--reminders", type=int, default=100_000)
    parser.add_argument("--period", type=float, default=100.0, help="of each reminder, in seconds")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the measurement")
    print(json.dumps(uvloop.run(run(parser.parse_args(arguments))), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
