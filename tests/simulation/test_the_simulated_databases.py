"""A database executes each request that arrives, also when its silo gets an error, or no answer at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from grange.errors import InconsistentStateError, MembershipUnavailable, StorageUnavailable, WriteOutcomeUnknown
from grange.membership.model.provider import FRESH, Table, table_version
from grange.proto.ids import GrainId
from grange.testing.simulation.databases import (
    ANSWER_TIMEOUT,
    CLUSTER,
    Database,
    DatabaseContents,
    DatabaseFaults,
    SimulatedStorage,
    SimulatedTable,
    state_server,
    table_server,
)
from grange.testing.simulation.event_log import EventLog
from grange.testing.simulation.loop import Process, SimulatedLoop

CART = GrainId("cart", "c-ann")


class Bench:
    """One silo, connected to both databases."""

    def __init__(self) -> None:
        self.loop = SimulatedLoop(random.Random(1))
        self.silo = Process("silo-1")
        self.event_log = EventLog(self.loop.time, lambda: self.loop.process.name)
        self.contents = DatabaseContents(self.event_log)
        self.state: Database = state_server(self.loop, random.Random(2))
        self.tables: Database = table_server(self.loop, random.Random(3))
        self.storage = SimulatedStorage(self.state, self.contents, self.silo)
        self.table = SimulatedTable(self.tables, self.contents, self.silo)


def on_a_bench(test: Callable[[Bench], Awaitable[None]]) -> None:
    bench = Bench()
    try:
        bench.loop.run_until_complete(_as_coroutine(test, bench))
    finally:
        bench.loop.close()


async def _as_coroutine(test: Callable[[Bench], Awaitable[None]], bench: Bench) -> None:
    await test(bench)


def test_an_answer_that_is_lost_after_the_commit_leaves_the_outcome_unknown() -> None:
    async def test(bench: Bench) -> None:
        bench.state.faults = DatabaseFaults(lost_answer=1.0)
        with pytest.raises(WriteOutcomeUnknown):
            await bench.storage.write(CART, "state", b'{"value": 3, "writer": "w"}', None)
        bench.state.heal()
        assert (await bench.storage.read(CART, "state")).payload == b'{"value": 3, "writer": "w"}'
        assert bench.contents.stored == {str(CART): 3}
        assert [(each.etag_before, each.etag, each.activation) for each in bench.contents.audit] == [(None, "1", "w")]

    on_a_bench(test)


def test_a_database_that_is_down_has_done_nothing() -> None:
    async def test(bench: Bench) -> None:
        bench.state.faults = DatabaseFaults(down=True)
        bench.tables.faults = DatabaseFaults(down=True)
        with pytest.raises(StorageUnavailable):
            await bench.storage.write(CART, "state", b"{}", None)
        with pytest.raises(MembershipUnavailable):
            await bench.table.read()
        assert bench.contents.audit == []

    on_a_bench(test)


def test_a_fault_may_hit_one_silo_only() -> None:
    async def test(bench: Bench) -> None:
        bench.tables.faults_by_silo["silo-1"] = DatabaseFaults(down=True)
        with pytest.raises(MembershipUnavailable):
            await bench.table.read()
        other = SimulatedTable(bench.tables, bench.contents, Process("silo-2"))
        assert (await other.read()).version == FRESH

    on_a_bench(test)


def test_a_change_that_was_sent_is_applied_though_its_silo_has_died() -> None:
    async def test(bench: Bench) -> None:
        with bench.loop.within(bench.silo):
            writing = asyncio.create_task(bench.storage.write(CART, "state", b'{"value": 1}', None))
        await asyncio.sleep(0)
        bench.silo.alive = False
        writing.cancel()
        await asyncio.wait([writing])
        await asyncio.sleep(0.1)
        assert bench.contents.stored == {str(CART): 1}

    on_a_bench(test)


def test_a_dead_silo_sends_no_request() -> None:
    async def test(bench: Bench) -> None:
        bench.silo.alive = False
        writing = asyncio.create_task(bench.storage.write(CART, "state", b"{}", None))
        await asyncio.sleep(60)
        assert not writing.done()
        assert bench.contents.audit == []
        writing.cancel()
        await asyncio.wait([writing])

    on_a_bench(test)


def test_a_slow_database_may_execute_a_request_after_its_time_out() -> None:
    async def test(bench: Bench) -> None:
        bench.state.faults = DatabaseFaults(delay=100 * ANSWER_TIMEOUT)
        began = bench.loop.time()
        with pytest.raises(WriteOutcomeUnknown):
            await bench.storage.write(CART, "state", b'{"value": 1}', None)
        assert bench.loop.time() - began < ANSWER_TIMEOUT + 0.1
        assert bench.contents.audit == []
        await asyncio.sleep(100 * ANSWER_TIMEOUT)
        assert len(bench.contents.audit) == 1

    on_a_bench(test)


def test_a_lost_race_is_counted_and_raised_in_the_caller() -> None:
    async def test(bench: Bench) -> None:
        await bench.storage.write(CART, "state", b"{}", None)
        with pytest.raises(InconsistentStateError):
            await bench.storage.write(CART, "state", b"{}", None)
        assert bench.event_log.counts["stale_write_refused"] == 1

    on_a_bench(test)


def test_a_table_can_be_rolled_back_and_emptied() -> None:
    async def test(bench: Bench) -> None:
        for number in range(3):
            bench.contents.tables.tables[CLUSTER] = Table(table_version("x", number + 1))
            await bench.table.read()
        assert bench.contents.roll_back(2) == 2
        assert (await bench.table.read()).version.number == 1
        assert bench.contents.roll_back(5) == 0, "no older version is known"
        bench.contents.empty()
        assert (await bench.table.read()).version == FRESH

    on_a_bench(test)
