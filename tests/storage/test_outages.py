"""The database is down at start, stops later, hangs, comes back: typed errors, no hang, no restart."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from grange.errors import (
    ConfigurationError,
    InconsistentStateError,
    StorageError,
    StorageUnavailable,
    WriteOutcomeUnknown,
)
from grange.proto.ids import GrainId
from grange.servers.postgres import PostgresServer
from grange.servers.redis import RedisServer
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import GrainStorage
from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN
from tests.storage.wire import Wire, a_wire

HURRIED = StorageOptions(operation_timeout=1.0, connect_timeout=0.9)
PATIENCE = 20.0
"""Seconds until a test fails on an operation that hangs."""


def test_an_operation_ends_within_two_seconds_by_default() -> None:
    assert DEFAULT_OPTIONS.operation_timeout < 2
    assert DEFAULT_OPTIONS.connect_timeout < DEFAULT_OPTIONS.operation_timeout


@pytest.fixture(params=["redis", "postgres"])
async def wire(request: pytest.FixtureRequest, redis_url: str, postgres_url: str) -> AsyncIterator[Wire]:
    async with a_wire(redis_url if request.param == "redis" else postgres_url) as wire:
        yield wire


@pytest.fixture
async def storage(wire: Wire) -> AsyncIterator[GrainStorage]:
    async with open_storage(wire.url, "svc", HURRIED) as storage:
        yield storage


async def all_verbs_are_unavailable(storage: GrainStorage) -> None:
    """A read raises StorageUnavailable; a change that may have left may also raise WriteOutcomeUnknown."""
    verbs = (
        storage.read(ANN, "state"),
        storage.write(ANN, "state", b"2", "1"),
        storage.clear(ANN, "state", "1"),
    )
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*verbs, return_exceptions=True)
    assert type(outcomes[0]) is StorageUnavailable
    assert {type(outcome) for outcome in outcomes[1:]} <= {StorageUnavailable, WriteOutcomeUnknown}
    assert all("ann" in str(outcome) for outcome in outcomes)


async def until_gone(storage: GrainStorage) -> None:
    """A backend of Postgres outlives its killed server for a moment, and may answer until it has noticed."""
    async with asyncio.timeout(PATIENCE):
        with suppress(StorageUnavailable):
            while True:
                await storage.read(ANN, "state")


async def rewritten(storage: GrainStorage) -> list[str | None]:
    """Read, then write, as soon as the database is reachable. Returns the etags read and written."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(StorageUnavailable):
                etag = (await storage.read(ANN, "state")).etag
                return [etag, await storage.write(ANN, "state", b"3", etag)]


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
async def test_no_server_at_start(scheme: str) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        async with asyncio.timeout(PATIENCE), open_storage(f"{scheme}://u:s3cret@127.0.0.1:1/0", "svc", HURRIED):
            pass
    assert "s3cret" not in str(caught.value)


async def test_a_server_that_never_answers_at_start(wire: Wire) -> None:
    wire.silent()
    with pytest.raises(StorageUnavailable):
        async with asyncio.timeout(PATIENCE), open_storage(wire.url, "svc", HURRIED):
            pass


async def test_a_cut_fails_typed_and_heals_by_itself(wire: Wire, storage: GrainStorage) -> None:
    """No acknowledged write is lost, and the etag still fits."""
    assert await storage.write(ANN, "state", b"1", None) == "1"
    await wire.cut()
    await all_verbs_are_unavailable(storage)
    await wire.join()
    assert await rewritten(storage) == ["1", "2"]


async def test_silence_fails_typed_and_heals_by_itself(wire: Wire, storage: GrainStorage) -> None:
    """A change that the relay held back may have been applied, so its outcome is unknown, and the error says so."""
    assert await storage.write(ANN, "state", b"1", None) == "1"
    wire.silent()
    await all_verbs_are_unavailable(storage)
    await wire.cut()
    await wire.join()
    assert await rewritten(storage) in (["1", "2"], ["2", "3"])


async def test_silence_does_not_use_up_the_connections(wire: Wire, storage: GrainStorage) -> None:
    """More operations fail than there are connections; afterwards all of them work."""
    wire.silent()
    grains = [GrainId("many", str(number)) for number in range(3 * HURRIED.connections)]
    writes = (storage.write(grain, "state", b"1", None) for grain in grains)
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {StorageUnavailable, WriteOutcomeUnknown}
    await wire.cut()
    await wire.join()
    await rewritten(storage)
    await asyncio.gather(*(storage.read(grain, "state") for grain in grains))


async def test_a_cancelled_operation_leaves_the_others_alone(wire: Wire, storage: GrainStorage) -> None:
    wire.silent()
    operations = [asyncio.ensure_future(storage.write(ANN, "state", b"1", None)) for _ in range(3)]
    await asyncio.sleep(0)
    for operation in operations:
        operation.cancel()
    await asyncio.wait(operations)
    await wire.cut()
    await wire.join()
    await rewritten(storage)


@pytest.mark.servers
@pytest.mark.parametrize("kind", [RedisServer, PostgresServer])
async def test_a_killed_server_comes_back_with_everything_acknowledged(
    kind: type[RedisServer | PostgresServer],
) -> None:
    with kind() as server:
        async with open_storage(server.url, "svc") as storage:
            await storage.write(ANN, "state", b"[1]", None)
            server.kill()
            await until_gone(storage)
            await all_verbs_are_unavailable(storage)
            server.start()
            assert await rewritten(storage) == ["1", "2"]


@pytest.mark.servers
async def test_a_redis_that_became_a_replica_is_neither_written_nor_read() -> None:
    """R10: writes are refused as not applied, later operations find no master. When it is a master again, all works."""
    with RedisServer() as server:
        async with open_storage(server.url, "svc", HURRIED) as storage:
            etag = await storage.write(ANN, "state", b"1", None)
            with redis.Redis.from_url(server.url) as admin:
                admin.execute_command("REPLICAOF", "127.0.0.1", "1")
                with pytest.raises(StorageUnavailable):
                    await storage.write(ANN, "state", b"2", etag)
                with pytest.raises(StorageUnavailable, match="replica"):
                    await storage.read(ANN, "state")
                admin.execute_command("REPLICAOF", "NO", "ONE")
            assert await rewritten(storage) == ["1", "2"]


async def test_a_locked_sqlite_file_fails_typed_and_heals_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_storage(f"sqlite:///{path}", "svc", HURRIED) as storage:
        etag = await storage.write(ANN, "state", b"1", None)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(StorageUnavailable, match="lock"):
                await storage.write(ANN, "state", b"2", etag)
        assert (await storage.read(ANN, "state")).etag == etag
        other.execute("COMMIT")
        other.close()
        assert await storage.write(ANN, "state", b"2", etag) == "2"
        with pytest.raises(InconsistentStateError):
            await storage.write(ANN, "state", b"2", etag)


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        async with open_storage(f"sqlite:///{tmp_path}/file/state.db", "svc"):
            pass


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("this is not a database, it only has its name" * 100)
    with pytest.raises(StorageError, match=r"state\.db' .* is not a database"):
        async with open_storage(f"sqlite:///{tmp_path}/state.db", "svc"):
            pass
