"""A database carries out what it was sent, though the silo that sent it hears otherwise, or hears nothing any more."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from grange.errors import InconsistentStateError, MembershipUnavailable, StorageUnavailable, WriteOutcomeUnknown
from grange.membership.model.provider import FRESH, Table, table_version
from grange.proto.ids import GrainId
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.testing.simulation.stores import (
    ANSWER_TIMEOUT,
    CLUSTER,
    Database,
    Memory,
    SimulatedStorage,
    SimulatedTable,
    state_server,
    table_server,
)
from grange.testing.simulation.trace import Trace
from grange.testing.simulation.weather import Weather

CART = GrainId("cart", "c-ann")


class Bench:
    """One silo's way to both databases."""

    def __init__(self) -> None:
        self.loop = SimulatedLoop(random.Random(1))
        self.silo = Process("silo-1")
        self.trace = Trace(self.loop.time, lambda: self.loop.process.name)
        self.memory = Memory(self.trace)
        self.state: Database = state_server(self.loop, random.Random(2))
        self.tables: Database = table_server(self.loop, random.Random(3))
        self.storage = SimulatedStorage(self.state, self.memory, self.silo)
        self.table = SimulatedTable(self.tables, self.memory, self.silo)


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
        bench.state.weather = Weather(lost_answer=1.0)
        with pytest.raises(WriteOutcomeUnknown):
            await bench.storage.write(CART, "state", b'{"value": 3, "writer": "w"}', None)
        bench.state.heal()
        assert (await bench.storage.read(CART, "state")).payload == b'{"value": 3, "writer": "w"}'
        assert bench.memory.counters() == {"c-ann": 3}
        assert [(each.etag_before, each.etag, each.activation) for each in bench.memory.audit] == [(None, "1", "w")]

    on_a_bench(test)


def test_a_database_that_is_down_has_done_nothing() -> None:
    async def test(bench: Bench) -> None:
        bench.state.weather = Weather(down=True)
        bench.tables.weather = Weather(down=True)
        with pytest.raises(StorageUnavailable):
            await bench.storage.write(CART, "state", b"{}", None)
        with pytest.raises(MembershipUnavailable):
            await bench.table.read()
        assert bench.memory.audit == []

    on_a_bench(test)


def test_one_silo_may_lose_what_the_others_reach() -> None:
    async def test(bench: Bench) -> None:
        bench.tables.local["silo-1"] = Weather(down=True)
        with pytest.raises(MembershipUnavailable):
            await bench.table.read()
        other = SimulatedTable(bench.tables, bench.memory, Process("silo-2"))
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
        assert bench.memory.counters() == {"c-ann": 1}

    on_a_bench(test)


def test_a_dead_silo_sends_nothing_any_more() -> None:
    async def test(bench: Bench) -> None:
        bench.silo.alive = False
        writing = asyncio.create_task(bench.storage.write(CART, "state", b"{}", None))
        await asyncio.sleep(60)
        assert not writing.done()
        assert bench.memory.audit == []
        writing.cancel()
        await asyncio.wait([writing])

    on_a_bench(test)


def test_a_slow_database_may_carry_out_later_what_nobody_waits_for() -> None:
    async def test(bench: Bench) -> None:
        bench.state.weather = Weather(delay=100 * ANSWER_TIMEOUT)
        began = bench.loop.time()
        with pytest.raises(WriteOutcomeUnknown):
            await bench.storage.write(CART, "state", b'{"value": 1}', None)
        assert bench.loop.time() - began < ANSWER_TIMEOUT + 0.1
        assert bench.memory.audit == []
        await asyncio.sleep(100 * ANSWER_TIMEOUT)
        assert len(bench.memory.audit) == 1

    on_a_bench(test)


def test_a_lost_race_is_counted_and_raised_where_it_was_asked() -> None:
    async def test(bench: Bench) -> None:
        await bench.storage.write(CART, "state", b"{}", None)
        with pytest.raises(InconsistentStateError):
            await bench.storage.write(CART, "state", b"{}", None)
        assert bench.trace.counts["stale_write_refused"] == 1

    on_a_bench(test)


def test_a_table_goes_back_in_time_and_away() -> None:
    async def test(bench: Bench) -> None:
        for number in range(3):
            bench.memory.tables.tables[CLUSTER] = Table(table_version("x", number + 1))
            await bench.table.read()
        assert bench.memory.roll_back(2) == 2
        assert (await bench.table.read()).version.number == 1
        assert bench.memory.roll_back(5) == 0, "further than what is known"
        bench.memory.empty()
        assert (await bench.table.read()).version == FRESH

    on_a_bench(test)
