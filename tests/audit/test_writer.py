"""Rows come into the table in their order, in batches; they wait while it is away, and lost ones are told."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from grange.audit import writer as module
from grange.audit.memory import MemoryAuditTable, MemoryRows
from grange.audit.provider import Origin
from grange.audit.writer import BATCH, MOST_WAITING, NotWritten, TableWriter
from grange.observability.events import Events
from grange.proto.acts import AuditRow, Level
from grange.testing.loop import VirtualTime
from tests.audit.bench import trail_of


def row(number: int) -> AuditRow:
    return AuditRow(number, 0.0, "ann", Level.OPERATOR, "drain", "", "", "begun", "")


class Table(MemoryAuditTable):
    """Notes the sizes of batches; `hangs` lets an operation wait."""

    def __init__(self) -> None:
        super().__init__(Origin("shop", "one@1"), MemoryRows())
        self.batches: list[int] = []
        self.hangs: asyncio.Event | None = None

    async def append(self, rows: Sequence[AuditRow]) -> None:
        self.batches.append(len(rows))
        if self.hangs is not None:
            await self.hangs.wait()
        await super().append(rows)

    def numbers(self) -> list[int]:
        return [each.row.number for each in self.kept.rows]


class Bench:
    """A writer that runs."""

    def __init__(self) -> None:
        self.table, self.events = Table(), Events()
        self.writer = TableWriter(self.table, self.events, random.Random(1))
        self.task = asyncio.get_running_loop().create_task(self.writer.run())

    def names(self) -> list[str]:
        return [event.name for event in self.events.after(0, 100)[0]]


@pytest.fixture(autouse=True)
async def virtual_time() -> AsyncIterator[None]:
    """Sleeps pass virtual time, and no real one."""
    with VirtualTime(asyncio.get_running_loop()).installed():
        yield


@pytest.fixture
async def bench(virtual_time: None) -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.writer.close(bench.task, 0)


async def test_rows_that_come_together_are_written_together(bench: Bench) -> None:
    for number in range(1, 2 * BATCH + 6):
        bench.writer.put(row(number))
    await asyncio.sleep(1)
    assert bench.table.batches == [BATCH, BATCH, 5]
    assert bench.table.numbers() == list(range(1, 2 * BATCH + 6))
    assert bench.writer.waiting == 0


async def test_rows_wait_while_the_table_is_away(bench: Bench) -> None:
    bench.table.kept.down = True
    for number in (1, 2, 3):
        bench.writer.put(row(number))
    await asyncio.sleep(60)
    assert (bench.writer.waiting, bench.writer.lost, bench.names()) == (3, 0, ["audit_table_away"])
    bench.table.kept.down = False
    await asyncio.sleep(20)
    assert bench.table.numbers() == [1, 2, 3]
    assert bench.names() == ["audit_table_away", "audit_table_back"]


async def test_a_row_that_must_be_written_is_there_when_the_wait_ends(bench: Bench) -> None:
    await bench.writer.write(row(1))
    assert bench.table.numbers() == [1]


async def test_the_wait_for_a_row_ends_at_once_while_the_table_is_away(bench: Bench) -> None:
    bench.table.kept.down = True
    with pytest.raises(NotWritten, match="is down"):
        await bench.writer.write(row(1))
    before = asyncio.get_running_loop().time()
    with pytest.raises(NotWritten, match="is down"):
        await bench.writer.write(row(2))
    assert asyncio.get_running_loop().time() == before
    bench.table.kept.down = False
    await asyncio.sleep(20)
    assert bench.table.numbers() == [1, 2]
    await bench.writer.write(row(3))


async def test_rows_that_no_caller_waits_for_leave_no_error_behind(bench: Bench) -> None:
    """asyncio would report each of them, with a traceback, while the table is away."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    bench.table.kept.down = True
    bench.writer.put(row(1))
    await asyncio.sleep(1)
    for number in range(2, 5):
        with pytest.raises(NotWritten):
            await bench.writer.write(row(number))
    await asyncio.sleep(30)
    bench.table.kept.down = False
    await asyncio.sleep(30)
    assert bench.table.numbers() == [1, 2, 3, 4]
    gc.collect()
    assert told == []


async def test_the_wait_for_a_row_is_bounded(bench: Bench) -> None:
    bench.table.hangs = asyncio.Event()
    waiting = asyncio.create_task(bench.writer.write(row(1)))
    await asyncio.sleep(6)
    with pytest.raises(NotWritten, match="did not answer within 5 s"):
        await waiting
    bench.table.hangs.set()
    await asyncio.sleep(1)
    assert bench.table.numbers() == [1]


async def test_a_caller_that_goes_does_not_stop_the_writer(bench: Bench) -> None:
    bench.table.hangs = asyncio.Event()
    waiting = asyncio.create_task(bench.writer.write(row(1)))
    await asyncio.sleep(1)
    waiting.cancel()
    bench.table.hangs.set()
    bench.writer.put(row(2))
    await asyncio.sleep(1)
    assert bench.table.numbers() == [1, 2]


async def test_a_call_that_is_cancelled_while_its_row_is_written_has_an_outcome(bench: Bench) -> None:
    """A row without one says that the process has ended."""
    trail = trail_of(bench.writer, required=True)
    bench.table.hangs = asyncio.Event()
    beginning = asyncio.create_task(trail.begin(row(0)))
    await asyncio.sleep(1)
    beginning.cancel()
    bench.table.hangs.set()
    await asyncio.sleep(1)
    assert beginning.cancelled()
    found = [(each.row.number, each.row.outcome, each.row.begun) for each in bench.table.kept.rows]
    assert found == [(1, "begun", 0), (2, "refused", 1)]


async def test_rows_beyond_the_bound_are_lost_and_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    assert MOST_WAITING == 10_000
    bench.table.kept.down = True
    for number in range(1, 9):
        bench.writer.put(row(number))
    assert (bench.writer.waiting, bench.writer.lost) == (5, 3)
    with pytest.raises(NotWritten, match="too many rows wait"):
        await bench.writer.write(row(9))
    bench.table.kept.down = False
    await asyncio.sleep(20)
    assert bench.table.numbers() == [1, 2, 3, 4, 5]
    assert bench.names().count("audit_rows_lost") == 4


async def test_the_end_waits_for_rows_and_tells_those_that_are_left() -> None:
    bench = Bench()
    bench.table.hangs = asyncio.Event()
    bench.writer.put(row(1))
    asyncio.get_running_loop().call_later(3, bench.table.hangs.set)
    await bench.writer.close(bench.task, 10)
    assert (bench.table.numbers(), bench.names(), bench.task.cancelled()) == ([1], [], True)

    other = Bench()
    other.table.kept.down = True
    other.writer.put(row(1))
    began = asyncio.get_running_loop().time()
    await other.writer.close(other.task, 10)
    assert asyncio.get_running_loop().time() == began + 10
    assert (other.names()[-1], other.writer.lost, other.writer.waiting) == ("audit_rows_lost", 1, 0)
