"""A Postgres that hangs, breaks off or cannot be verified: typed errors, and no cancellation is lost."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, cast

import asyncpg
import pytest

from grange.databases import postgres
from grange.databases.checks import check_store
from grange.databases.errors import AnswerLost
from grange.databases.postgres import Pool, PostgresLink
from grange.errors import ConfigurationError, GrangeError, MembershipUnavailable, StorageUnavailable
from grange.membership.providers.postgres import PostgresMembershipTable
from grange.membership.urls import open_table
from grange.servers.postgres import PostgresServer
from grange.storage.options import StorageOptions
from grange.storage.stores.postgres import PostgresStorage
from grange.storage.urls import open_storage
from grange.testing.contracts.membership_samples import a_silo, insert
from grange.testing.contracts.storage_samples import ANN

PATIENCE = 10.0
"""Seconds until a test fails on an operation that hangs."""

HURRIED = StorageOptions(operation_timeout=1.0, connect_timeout=0.9)

UNVERIFIED = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired")


class ManualTimer:
    """Replaces `AwakeTimer`: the test calls `expired`."""

    made: list[ManualTimer]

    def __init__(self, seconds: float, expired: Callable[[], None]) -> None:
        self.expired = expired
        self.made.append(self)

    def stop(self) -> None:
        """Nothing runs."""


class Hung:
    """Operations that wait for a row that another session has locked, each with its pool."""

    def __init__(self, table: PostgresMembershipTable, storage: PostgresStorage, version: Any) -> None:
        self._links = {"table": table._link, "storage": storage._link}
        self.operations: dict[str, tuple[str, Callable[[], Awaitable[object]]]] = {
            "membership read": ("table", table.read),
            "membership change": ("table", lambda: table.insert(a_silo(2), version)),
            "storage read": ("storage", lambda: storage.read(ANN, "state")),
        }

    async def start(self, name: str) -> asyncio.Task[object]:
        """Start an operation, and wait until its connection waits for an answer."""
        task = asyncio.ensure_future(self.operations[name][1]())
        async with asyncio.timeout(PATIENCE):
            while not any(self._is_waiting(holder, name) for holder in self._holders(name)):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # until the statement was sent
        assert not task.done()
        return cast("asyncio.Task[object]", task)

    def abort(self, name: str) -> None:
        """Break the connections of the operation, as a lost network does."""
        for holder in self._holders(name):
            if holder._in_use:
                holder._con._transport.abort()

    def _is_waiting(self, holder: Any, name: str) -> bool:
        return holder._in_use and ("change" not in name or holder._con._protocol.is_in_transaction())

    def _holders(self, name: str) -> list[Any]:
        return cast(Any, self._links[self.operations[name][0]]._pool)._holders


@pytest.fixture
async def hung(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hung]:
    async with AsyncExitStack() as stack:
        table = await stack.enter_async_context(open_table(postgres_url, "one"))
        storage = await stack.enter_async_context(open_storage(postgres_url, "svc"))
        known = await insert(table, a_silo(1))
        other = await asyncpg.connect(postgres_url)
        stack.push_async_callback(other.close)
        transaction = other.transaction()
        await transaction.start()
        stack.push_async_callback(transaction.rollback)
        await other.execute("LOCK TABLE grange_membership_silo, grange_state IN ACCESS EXCLUSIVE MODE")
        monkeypatch.setattr(ManualTimer, "made", [], raising=False)
        monkeypatch.setattr(postgres, "AwakeTimer", ManualTimer)
        assert isinstance(table, PostgresMembershipTable)
        assert isinstance(storage, PostgresStorage)
        yield Hung(table, storage, known.version)


OPERATIONS = pytest.mark.parametrize("name", ["membership read", "membership change", "storage read"])


async def is_cancelled(task: asyncio.Task[object]) -> None:
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.cancelled(), task


@OPERATIONS
@pytest.mark.parametrize("is_cancelled_first", [False, True])
async def test_a_cancellation_at_the_moment_of_the_expiry_is_kept(
    name: str, is_cancelled_first: bool, hung: Hung
) -> None:
    """The expiry breaks the connection, and the roll-back on it fails: neither replaces the CancelledError."""
    task = await hung.start(name)
    if is_cancelled_first:
        task.cancel()
    ManualTimer.made[-1].expired()
    task.cancel()
    await is_cancelled(task)


@OPERATIONS
async def test_a_cancellation_of_an_operation_on_a_lost_connection_is_kept(name: str, hung: Hung) -> None:
    task = await hung.start(name)
    hung.abort(name)
    task.cancel()
    await is_cancelled(task)


@OPERATIONS
async def test_a_cancellation_after_the_expiry_is_kept(name: str, hung: Hung) -> None:
    """The task has been woken with an error, and has not run yet."""
    task = await hung.start(name)
    ManualTimer.made[-1].expired()
    asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.cancelled() or isinstance(task.exception(), MembershipUnavailable | StorageUnavailable)


@OPERATIONS
async def test_one_cancellation_ends_a_loop_that_retries(name: str, hung: Hung) -> None:
    operation = hung.operations[name][1]

    async def retry() -> None:
        while True:
            with suppress(Exception):
                await operation()

    hung.operations[name] = (hung.operations[name][0], retry)
    task = await hung.start(name)
    ManualTimer.made[-1].expired()
    task.cancel()
    await is_cancelled(task)


@OPERATIONS
async def test_an_expiry_is_a_lost_answer(name: str, hung: Hung) -> None:
    """The text does not name the driver's complaint about the broken connection."""
    task = await hung.start(name)
    ManualTimer.made[-1].expired()
    with pytest.raises((MembershipUnavailable, StorageUnavailable), match=r"did not answer in time$"):
        await task


@pytest.mark.servers
async def test_a_stopped_backend_is_reported_as_a_missing_answer() -> None:
    """SIGSTOP of all backends: the connections stay open, and no answer comes."""
    with PostgresServer() as server:
        async with open_table(server.url, "one") as table, open_storage(server.url, "svc", HURRIED) as storage:
            async with backends_stopped(server.url):
                with pytest.raises(StorageUnavailable) as caught:
                    await storage.read(ANN, "state")
                assert str(caught.value).endswith("cart/ann: the database did not answer within 1.0 s")
                with pytest.raises(MembershipUnavailable, match=r"did not answer in time$"):
                    await table.read()
            assert (await storage.read(ANN, "state")).etag is None


@asynccontextmanager
async def backends_stopped(url: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    await connection.close()
    for row in rows:
        os.kill(row["pid"], signal.SIGSTOP)
    try:
        yield
    finally:
        for row in rows:
            os.kill(row["pid"], signal.SIGCONT)


class RefusingPool:
    """A pool that cannot connect."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def acquire(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error", [UNVERIFIED, asyncpg.exceptions.ClientConfigurationError("s3cret"), UnicodeError("s3cret")]
)
async def test_a_failure_to_connect_again_is_not_a_configuration_error(error: Exception) -> None:
    """Also a certificate that has expired, whose error is a ValueError, and a certificate file that is gone.

    A write was not sent, so its outcome is known.
    """
    link = PostgresLink(cast(Pool, RefusingPool(error)))
    storage, table = PostgresStorage(link, "svc"), PostgresMembershipTable(link, "one")
    caught: list[BaseException] = []
    for operation in (storage.read(ANN, "state"), storage.write(ANN, "state", b"1", None), table.read()):
        with pytest.raises(GrangeError) as found:
            await operation
        caught.append(found.value)
    assert [type(each) for each in caught] == [StorageUnavailable, StorageUnavailable, MembershipUnavailable]
    assert all("is not available" in str(each) and "s3cret" not in str(each) for each in caught)


async def test_a_password_that_is_changed_later_is_an_outage_with_the_right_words() -> None:
    """A running silo must not end; a supervisor that starts it again gets exit code 2 and the same words."""
    link = PostgresLink(cast(Pool, RefusingPool(asyncpg.InvalidPasswordError("password authentication failed"))))
    storage, table = PostgresStorage(link, "svc"), PostgresMembershipTable(link, "one")
    for kind, operation in (
        (StorageUnavailable, storage.read(ANN, "state")),
        (StorageUnavailable, storage.write(ANN, "state", b"1", None)),
        (MembershipUnavailable, table.read()),
    ):
        with pytest.raises(kind, match="refused the login that its URL names: password authentication failed"):
            await operation


async def test_a_certificate_that_is_refused_at_start_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL is not malformed."""
    connect_refuses(monkeypatch, UNVERIFIED)
    url = "postgresql://u:s3cret@host/db"
    with pytest.raises(StorageUnavailable, match=r"host/db is not available: .*CERTIFICATE_VERIFY_FAILED"):
        async with open_storage(url, "svc"):
            pass
    with pytest.raises(MembershipUnavailable, match=r"host/db is not available: .*CERTIFICATE_VERIFY_FAILED"):
        async with open_table(url, "one"):
            pass
    with pytest.raises(AnswerLost, match="CERTIFICATE_VERIFY_FAILED"):
        await check_store(url)


async def test_an_option_that_the_driver_refuses_at_start_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect_refuses(monkeypatch, asyncpg.exceptions.ClientConfigurationError("s3cret"))
    for opened in (open_storage("postgresql://h/db", "svc"), open_table("postgresql://h/db", "one")):
        with pytest.raises(ConfigurationError, match="the Postgres driver refuses one of its options"):
            async with opened:
                pass
    with pytest.raises(ConfigurationError, match="the Postgres driver refuses one of its options"):
        await check_store("postgresql://h/db")


def connect_refuses(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def connect(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(asyncpg.connection, "connect", connect)


@pytest.mark.parametrize("text", ["the handler is closed", "a defect"])
async def test_a_defect_after_the_expiry_is_not_a_time_out(
    text: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the RuntimeError with which uvloop reports a closed connection is one."""
    monkeypatch.setattr(ManualTimer, "made", [], raising=False)
    monkeypatch.setattr(postgres, "AwakeTimer", ManualTimer)
    async with PostgresLink.open(postgres_url, 1, PATIENCE, PATIENCE) as link:

        async def fail() -> None:
            async with link.connection(PATIENCE):
                ManualTimer.made[-1].expired()
                raise RuntimeError(text)

        with pytest.raises(RuntimeError if text == "a defect" else AnswerLost):
            await fail()


@pytest.mark.servers
async def test_a_cancelled_start_is_quiet(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """asyncpg left the error of a connection that was cancelled in its first exchange to the garbage collector."""
    for steps in range(40):
        stack = AsyncExitStack()
        opening = asyncio.ensure_future(stack.enter_async_context(open_table(postgres_url, "one")))
        for _ in range(steps // 2):
            await asyncio.sleep(0 if steps % 2 else 0.0005)
        opening.cancel()
        await asyncio.wait([opening])
        await stack.aclose()
    await asyncio.sleep(0)
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
