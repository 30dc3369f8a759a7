"""Answers to changes that were lost on the network (F23), ended sessions and a pool without free connections (F22).

On real servers, through a relay that can hold back one direction: the change is applied, and its answer never comes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from grange.errors import StorageUnavailable, WriteOutcomeUnknown
from grange.observability.events import Events
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.guards.stores import GuardDeps, StorageGuards
from grange.storage.options import StorageOptions
from grange.storage.provider import GrainStorage, StateRecord
from grange.storage.sets import Stamp
from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN, json_of
from tests.storage.wire import Wire, a_wire

HURRIED = StorageOptions(operation_timeout=2.0, connect_timeout=0.9, connections=2)
ME = SiloAddress("10.0.0.1", 11111, 1_700_000_000_000)
PATIENCE = 20.0


def guarded(storage: GrainStorage) -> StorageGuards:
    return StorageGuards({"default": storage}, GuardDeps(ME, random.Random(1), HURRIED.operation_timeout, Events()))


@pytest.fixture(params=["redis", "postgres"])
async def wire(request: pytest.FixtureRequest, redis_url: str, postgres_url: str) -> AsyncIterator[Wire]:
    async with a_wire(redis_url if request.param == "redis" else postgres_url) as wire:
        yield wire


async def until_stored(storage: GrainStorage, number: int) -> None:
    while json_of(await storage.read(ANN, "s")) != number:
        await asyncio.sleep(0.01)


async def lose_the_answer(
    wire: Wire, storage: GrainStorage, direct: GrainStorage, etag: str | None
) -> asyncio.Task[str]:
    """A write of 2 is applied, and its answer is held back."""
    wire.deaf()
    writing = asyncio.create_task(storage.write(ANN, "s", b"2", etag, stamp=Stamp(ME, 2)))
    await until_stored(direct, 2)
    return writing


async def test_an_applied_write_whose_answer_was_cut_off_succeeds(wire: Wire) -> None:
    """It is sent again, recognised by its stamp, and applied once."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(PATIENCE))
        direct = await stack.enter_async_context(open_storage(wire.server_url, "svc"))
        storage = await stack.enter_async_context(open_storage(wire.url, "svc", HURRIED))
        guards = await stack.enter_async_context(guarded(storage))
        etag = await guards.storages["default"].write(ANN, "s", b"1", None, stamp=Stamp(ME, 1))
        writing = await lose_the_answer(wire, guards.storages["default"], direct, etag)
        await wire.cut()
        await wire.join()
        assert await writing == "2"
        record = await direct.read(ANN, "s")
        assert (json_of(record), record.etag) == (2, "2")


async def test_an_applied_write_whose_answer_never_comes_is_unknown(wire: Wire) -> None:
    """Not StorageUnavailable, which says that it was not applied."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(PATIENCE))
        direct = await stack.enter_async_context(open_storage(wire.server_url, "svc"))
        storage = await stack.enter_async_context(open_storage(wire.url, "svc", HURRIED))
        etag = await storage.write(ANN, "s", b"1", None, stamp=Stamp(ME, 1))
        writing = await lose_the_answer(wire, storage, direct, etag)
        with pytest.raises(WriteOutcomeUnknown, match="cart/ann"):
            await writing
        await wire.cut()


async def test_a_cancelled_write_that_had_left_leaves_the_others_alone(wire: Wire) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(PATIENCE))
        direct = await stack.enter_async_context(open_storage(wire.server_url, "svc"))
        storage = await stack.enter_async_context(open_storage(wire.url, "svc", HURRIED))
        etag = await storage.write(ANN, "s", b"1", None, stamp=Stamp(ME, 1))
        writing = await lose_the_answer(wire, storage, direct, etag)
        writing.cancel()
        await asyncio.wait([writing])
        await wire.cut()
        await wire.join()
        while True:
            try:
                assert await storage.write(ANN, "s", b"3", "2", stamp=Stamp(ME, 3)) == "3"
                break
            except (StorageUnavailable, WriteOutcomeUnknown):
                await asyncio.sleep(0.05)


async def test_a_write_without_a_connection_certainly_did_not_leave(wire: Wire) -> None:
    async with open_storage(wire.url, "svc", HURRIED) as storage:
        await wire.cut()
        for _ in range(2 * HURRIED.connections):  # until no broken connection is left
            try:
                await storage.write(ANN, "s", b"1", None)
            except WriteOutcomeUnknown:
                continue
            except StorageUnavailable:
                break
        with pytest.raises(StorageUnavailable):
            await storage.write(ANN, "s", b"1", None)


async def test_sessions_that_the_server_ends_lose_no_write(postgres_url: str) -> None:
    """F22: again and again. Every acknowledged write is stored once, and the pool loses no connection."""
    killer = await asyncpg.connect(postgres_url)
    async with asyncio.timeout(60), open_storage(postgres_url, "svc", HURRIED) as storage:
        guards = guarded(storage)
        async with guards:
            done = asyncio.Event()
            writers = [asyncio.create_task(add_ones(guards, number, done)) for number in range(6)]
            for _ in range(10):
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'grange' AND datname = current_database()"
                )
                await asyncio.sleep(0.05)
            done.set()
            for number, (acknowledged, tried) in enumerate(await asyncio.gather(*writers)):
                stored = json_of(await until_read(guards.storages["default"], GrainId("many", str(number))))
                assert acknowledged <= stored <= tried
                assert tried - acknowledged <= 1
        open_now = await killer.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'grange' AND datname = current_database()"
        )
        assert open_now <= HURRIED.connections
    await killer.close()


async def add_ones(guards: StorageGuards, number: int, done: asyncio.Event) -> tuple[int, int]:
    """Count upwards in one record until `done` is set. Returns the numbers acknowledged last and tried last."""
    storage, grain = guards.storages["default"], GrainId("many", str(number))
    etag, acknowledged = None, 0
    while not done.is_set():
        tried = acknowledged + 1
        try:
            etag = await storage.write(grain, "s", str(tried).encode(), etag, stamp=guards.stamps.next())
        except StorageUnavailable:
            continue  # certainly not stored: the etag still fits
        except WriteOutcomeUnknown:
            record = await until_read(storage, grain)
            return acknowledged, tried if record.payload is not None else acknowledged
        acknowledged = tried
        await asyncio.sleep(0)
    return acknowledged, acknowledged


async def until_read(storage: GrainStorage, grain: GrainId) -> StateRecord:
    while True:
        try:
            return await storage.read(grain, "s")
        except StorageUnavailable:
            await asyncio.sleep(0.05)


async def test_the_wait_for_a_pool_without_free_connections_is_bounded(postgres_url: str) -> None:
    """F22: every connection hangs at a locked row. A change that waits for one fails typed, not stored, and in time."""
    blocker = await asyncpg.connect(postgres_url)
    short = StorageOptions(operation_timeout=0.8, connect_timeout=0.7, connections=1)
    async with asyncio.timeout(PATIENCE), open_storage(postgres_url, "svc", short) as storage:
        etag = await storage.write(ANN, "s", b"1", None)
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("SELECT FROM grange_state FOR UPDATE")
        hanging = asyncio.create_task(storage.write(ANN, "s", b"2", etag))
        await asyncio.sleep(0)
        other = asyncio.create_task(storage.write(GrainId("cart", "other"), "s", b"1", None))
        outcomes = await asyncio.gather(hanging, other, return_exceptions=True)
        assert isinstance(outcomes[0], StorageUnavailable | WriteOutcomeUnknown)
        assert isinstance(outcomes[1], StorageUnavailable)
        await transaction.rollback()
        assert (await until_read(storage, GrainId("cart", "other"))).payload is None
        etag = (await until_read(storage, ANN)).etag
        await storage.write(ANN, "s", b"3", etag)
    await blocker.close()


async def test_cancelling_at_any_moment_of_a_write_leaves_a_chain_of_etags(tmp_path: Path) -> None:
    """On SQLite: at any moment, the record is either as before or as written, and the next write goes on."""
    async with open_storage(f"sqlite:///{tmp_path}/state.db", "svc") as storage:
        etag = await storage.write(ANN, "s", b"0", None)
        for number in range(1, 41):
            writing = asyncio.create_task(storage.write(ANN, "s", str(number).encode(), etag, stamp=Stamp(ME, number)))
            for _ in range(number % 20):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])
            repeated = await storage.write(ANN, "s", str(number).encode(), etag, stamp=Stamp(ME, number))
            record = await storage.read(ANN, "s")
            assert (json_of(record), record.etag) == (number, repeated)
            assert int(repeated) == int(etag) + 1
            etag = repeated
