"""No state, argument or secret is ever in a log: canary values go through every kind of failure, at level DEBUG."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Generator

import pytest

from grange import Grain, PersistentState, one_way
from grange.cli.logs import JsonLines
from grange.client.client import Client
from grange.errors import GrangeError, StorageError
from grange.observability.log_ring import LogRing
from grange.proto.journal import ReadLogs
from grange.testing.cluster import TestCluster
from tests.storage.faults import FaultyStorage

CANARY = "canary-4111-1111-1111-1111"


@dataclasses.dataclass
class Card:
    """State with a secret in it."""

    number: str = ""
    limit: int = 0


class Wallet(Grain):
    """A grain that fails in many ways while it holds a secret."""

    def __init__(self, state: PersistentState[Card]) -> None:
        self.state = state

    async def store(self, number: str, limit: int) -> str:
        """Keep the number, and return it."""
        self.state.value = Card(number, limit)
        await self.state.write()
        return number

    async def fail(self, number: str) -> None:
        """Raise an error of its own."""
        raise ValueError(f"{len(number)} digits are not enough")

    @one_way
    async def fail_later(self, number: str) -> None:
        """Raise an error that no caller receives."""
        raise ValueError(f"{len(number)} digits are not enough")

    async def tick(self, number: str) -> None:
        """Start a timer whose callback fails."""
        self.number = number
        self.start_timer(self._fail, 1.0)

    async def _fail(self) -> None:
        raise ValueError("the timer failed")

    async def wrong_result(self, number: str) -> int:
        """Return what its annotation does not allow."""
        return number  # type: ignore[return-value]

    async def take_long(self, number: str) -> None:
        """Wait for longer than callers do."""
        await asyncio.sleep(100 + len(number))


class Lines(logging.Handler):
    """Collects all lines of the process as JSON."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(JsonLines({}))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@pytest.fixture
def lines() -> Generator[Lines]:
    made, grange = Lines(), logging.getLogger("grange")
    level = grange.level
    grange.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(made)
    yield made
    logging.getLogger().removeHandler(made)
    grange.setLevel(level)


async def test_failing_calls_and_stores_leave_no_secret_in_any_line(lines: Lines) -> None:
    storage = FaultyStorage()
    async with TestCluster(
        grains=[Wallet], silos=2, storage=storage, keep_logs=True, admin_token=f"admin-{CANARY}"
    ) as cluster:
        ann = cluster.get_grain(Wallet, "ann")
        await ann.store(CANARY, 5)
        failing = (
            lambda: ann.fail(CANARY),
            lambda: ann.wrong_result(CANARY),
            lambda: ann.store(CANARY, CANARY),  # type: ignore[arg-type]
            lambda: ann.store(CANARY, 2**70),
            lambda: ann.take_long(CANARY),
        )
        for call in failing:
            with pytest.raises((GrangeError, ValueError, TypeError)):
                await call()
        await ann.fail_later(CANARY)
        await cluster.get_grain(Wallet, "bob").tick(CANARY)
        await cluster.advance(5)
        for error in (StorageError("the store is read-only"), KeyError("a defect of the provider")):
            storage.fail_before = error
            with pytest.raises((GrangeError, KeyError)):
                await cluster.get_grain(Wallet, "eve").store(CANARY, 1)
        await cluster.advance(1)  # two failures in a row hold the grain down
        storage.down = True
        with pytest.raises(GrangeError):
            await cluster.get_grain(Wallet, "eve").store(CANARY, 1)
        await cluster.advance(30)
        storage.down = False
        await cluster.advance(30)
        stranger = Client([cluster.silos[0].gateway], cluster="default", token=f"guess-{CANARY}")
        assert CANARY not in repr(stranger)
        ring = cluster.silos[0]._here("").logs
        assert isinstance(ring, LogRing)
        kept = ring.after(ReadLogs(level=0), 5000)[0]
        events = [row for silo in cluster.silos for row in silo._here("").ports.events.after(0, 5000)[0]]
    text = "\n".join(lines.texts)
    for expected in ("one_way_failed", "timer_failed", "storage_unavailable", "turn_stuck"):
        assert f'"{expected}"' in text
    assert CANARY not in text
    assert CANARY not in repr(kept)
    assert CANARY not in repr(events)
