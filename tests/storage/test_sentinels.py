"""State in Redis behind a Sentinel, on real servers: failovers lose no acknowledged write, and no replica is read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from grange.databases import redis as databases_redis
from grange.errors import (
    ConfigurationError,
    InconsistentStateError,
    StorageError,
    StorageUnavailable,
    WriteOutcomeUnknown,
)
from grange.observability.events import Events
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.guards.stores import GuardDeps, StorageGuards
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import GrainStorage
from grange.storage.sets import Stamp
from grange.storage.urls import open_storage, try_storage
from grange.testing.contracts.storage_samples import ANN, json_of
from tests.contracts.redis_replicas import PASSWORD, Sentinel, Server, replicated, stopped, until

T = TypeVar("T")

pytestmark = pytest.mark.servers

ME = SiloAddress("10.0.0.1", 11111, 1_700_000_000_000)
PATIENCE = 60.0
CONNECTIONS = 3
OPTIONS = StorageOptions(connections=CONNECTIONS)
WRITERS = [GrainId("many", str(number)) for number in range(8)]


class Group:
    """A master with a replica, and the Sentinel that watches them."""

    def __init__(self, master: Server, replica: Server, sentinel: Sentinel) -> None:
        self.master = master
        self.replica = replica
        self.sentinel = sentinel

    @property
    def url(self) -> str:
        return f"redis+sentinel://:{PASSWORD}@{self.sentinel.address}/table/0"

    def master_port(self) -> int:
        return int(self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "table")[1])


@pytest.fixture
async def group() -> AsyncIterator[Group]:
    with Server() as master, master.replica() as replica, Sentinel(master) as sentinel:
        await replicated(master)
        await until(lambda: len(sentinel.ask("SENTINEL", "REPLICAS", "table")) == 1)
        yield Group(master, replica, sentinel)


@asynccontextmanager
async def guarded(url: str) -> AsyncIterator[StorageGuards]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(PATIENCE))
        storage = await stack.enter_async_context(open_storage(url, "svc"))
        deps = GuardDeps(ME, random.Random(1), DEFAULT_OPTIONS.operation_timeout, Events())
        yield await stack.enter_async_context(StorageGuards({"default": storage}, deps))


class Writer:
    """Adds ones to one record, and remembers what was acknowledged, and what may be stored."""

    def __init__(self, guards: StorageGuards, grain: GrainId) -> None:
        self.storage: GrainStorage = guards.storages["default"]
        self._guards = guards
        self.grain = grain
        self.acknowledged = 0
        self.possible = 0
        self._etag: str | None = None

    async def run(self, done: asyncio.Event) -> None:
        while not done.is_set():
            number = self.possible + 1
            try:
                self._etag = await self.storage.write(
                    self.grain, "s", str(number).encode(), self._etag, stamp=self._guards.stamps.next()
                )
            except (StorageUnavailable, WriteOutcomeUnknown, InconsistentStateError) as error:
                if not isinstance(error, StorageUnavailable):
                    self.possible = number
                await self._read_again()
            else:
                self.acknowledged = self.possible = number
            await asyncio.sleep(0)

    async def _read_again(self) -> None:
        record = await eventually(lambda: self.storage.read(self.grain, "s"))
        assert self.acknowledged <= (json_of(record) if record.payload else 0) <= self.possible
        self._etag = record.etag
        self.possible = max(self.acknowledged, json_of(record) if record.payload else 0)


async def eventually(operation: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await operation()
        except (StorageUnavailable, WriteOutcomeUnknown):
            await asyncio.sleep(0.05)


@asynccontextmanager
async def writing(guards: StorageGuards) -> AsyncIterator[list[Writer]]:
    """Writers at work. Afterwards, each record holds all that was acknowledged, and nothing that was not tried."""
    writers = [Writer(guards, grain) for grain in WRITERS]
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for writer in writers:
            tasks.create_task(writer.run(done))
        await progress(writers)
        yield writers
        await progress(writers)
        done.set()
    for writer in writers:
        stored = json_of(await eventually(lambda each=writer: each.storage.read(each.grain, "s")))
        assert writer.acknowledged <= stored <= writer.possible + 1


async def progress(writers: list[Writer]) -> None:
    before = [writer.acknowledged for writer in writers]
    await until(lambda: all(now.acknowledged > then + 5 for now, then in zip(writers, before, strict=True)))


async def test_a_killed_master_loses_no_acknowledged_write(group: Group) -> None:
    """R10: the same open store reads from the promoted replica, and writes as soon as that has a replica again."""
    async with guarded(group.url) as guards, writing(guards) as writers:
        group.master.kill()
        await until(lambda: group.master_port() == group.replica.port)
        for writer in writers:
            stored = json_of(await eventually(lambda each=writer: each.storage.read(each.grain, "s")))
            assert writer.acknowledged <= stored
        group.master.start()


async def test_a_master_that_is_demoted_is_neither_written_nor_read(group: Group) -> None:
    """A failover that an operator asks for. The earlier master serves as a replica, and no read reaches it."""
    async with guarded(group.url) as guards, writing(guards) as writers:
        await until(lambda: failover_accepted(group))
        await until(lambda: group.master_port() == group.replica.port)
        await until(lambda: is_replica(group.master))
        await progress(writers)
        group.master.ask("CONFIG", "RESETSTAT")
        await progress(writers)
        await eventually(lambda: writers[0].storage.read(ANN, "s"))
        assert "cmdstat_hmget" not in group.master.ask("INFO", "commandstats")
        with pytest.raises(StorageUnavailable, match="replica"):
            async with open_storage(group.master.url, "svc"):
                pass


def failover_accepted(group: Group) -> bool:
    """The Sentinel refuses while it does not know yet whether the replica is good."""
    try:
        group.sentinel.ask("SENTINEL", "FAILOVER", "table")
    except ResponseError as error:
        if str(error).startswith(("NOGOODSLAVE", "INPROG")):
            return False
        raise
    return True


def is_replica(server: Server) -> bool:
    try:
        return server.ask("ROLE")[0] == "slave"
    except RedisConnectionError:  # while its role changes
        return False


async def test_a_write_that_no_replica_has_is_not_acknowledged(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outcome is unknown, and it is neither lost nor made twice when the replica is back."""
    monkeypatch.setattr(databases_redis, "WAIT_MILLISECONDS", 200)
    async with guarded(group.url) as guards:
        storage = guards.storages["default"]
        etag = await storage.write(ANN, "s", b"1", None, stamp=guards.stamps.next())
        with stopped(group.replica):
            with pytest.raises(WriteOutcomeUnknown, match="a failover may lose it: 0 of 1 replicas"):
                await storage.write(ANN, "s", b"2", etag, stamp=guards.stamps.next())
            writing = asyncio.create_task(storage.write(ANN, "s", b"3", "2", stamp=guards.stamps.next()))
            while json_of(await storage.read(ANN, "s")) != 3:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)  # it is sent again and again, and found made, yet not confirmed
            assert not writing.done()
        assert await writing == "3"


async def test_a_death_that_no_replica_has_is_recorded_again(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failover must not let a dead silo write."""
    monkeypatch.setattr(databases_redis, "WAIT_MILLISECONDS", 200)
    async with open_storage(group.url, "svc") as storage:
        with stopped(group.replica), pytest.raises(StorageUnavailable, match="replicas"):
            await storage.fence([ME])
        await eventually(lambda: storage.fence([ME]))
        group.master.kill()
        await until(lambda: group.master_port() == group.replica.port)
        group.master.start()
        with pytest.raises(InconsistentStateError, match="was declared dead"):
            await eventually(lambda: storage.write(ANN, "s", b"1", None, stamp=Stamp(ME, 1)))


async def test_a_store_that_waits_for_no_replica_tells_of_a_loss(group: Group) -> None:
    """`replicas=0`: the next write of a grain whose acknowledged write was lost is refused, and says so."""
    async with open_storage(f"{group.url}?replicas=0", "svc") as storage:
        etag = await storage.write(ANN, "s", b"1", None)
        await replicated(group.master)
        await until(lambda: int(group.replica.ask("DBSIZE")) == int(group.master.ask("DBSIZE")))
        with stopped(group.replica):
            etag = await storage.write(ANN, "s", b"2", etag)
            group.replica.kill()  # what waits in its socket never reaches it
            group.master.kill()
        group.replica.start()
        # It may have looked while both were away, and then it waits long before it looks again.
        await until(lambda: group.master_port() == group.replica.port or failover_accepted(group))
        await until(lambda: group.master_port() == group.replica.port)
        assert json_of(await eventually(lambda: storage.read(ANN, "s"))) == 1
        with pytest.raises(InconsistentStateError):
            await storage.write(ANN, "s", b"3", etag)


async def test_the_trial_at_the_start_misses_a_replica() -> None:
    """A silo that could acknowledge nothing says so, with the remedy."""
    with Server() as master, Sentinel(master) as sentinel:
        url = f"redis+sentinel://:{PASSWORD}@{sentinel.address}/table"
        with pytest.raises(StorageError, match=r"0 of 1 replicas .*\?replicas=0"):
            await try_storage(url, "svc")
        assert [each.level for each in await try_storage(f"{url}?replicas=0", "svc")] == ["ok"]


async def test_one_server_may_have_replicas_to_wait_for(group: Group) -> None:
    """As behind the fixed address of a hosted Redis."""
    async with open_storage(f"{group.master.url}?replicas=1", "svc") as storage:
        await storage.write(ANN, "s", b"1", None)
        assert group.master.ask("INFO", "commandstats")["cmdstat_wait"]["calls"] > 0


@pytest.mark.parametrize("number", ["two", "-1", "101", ""])
@pytest.mark.parametrize("url", ["redis://host", "redis+sentinel://host/table"])
async def test_an_odd_number_of_replicas_is_refused(url: str, number: str) -> None:
    with pytest.raises(ConfigurationError, match="the option replicas is a number from 0 to 100"):
        async with open_storage(f"{url}?replicas={number}", "svc"):
            pass


async def test_the_connections_of_one_silo_are_limited(group: Group) -> None:
    """Operations wait for a free one, also behind Sentinels."""
    async with open_storage(group.url, "svc", OPTIONS) as storage:
        for _ in range(5):
            reads = (storage.read(grain, str(number)) for grain in WRITERS for number in range(10))
            writes = (storage.write(grain, "s", b"1", None) for grain in WRITERS)
            await asyncio.gather(*reads, *writes, return_exceptions=True)
            clients = str(group.master.ask("CLIENT", "LIST")).splitlines()
            own = [line for line in clients if " cmd=hmget " in line or " cmd=wait " in line]
            assert 0 < len(own) <= CONNECTIONS
