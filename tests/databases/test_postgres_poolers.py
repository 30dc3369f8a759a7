"""Postgres behind a connection pooler: it works in session and transaction mode, or is refused with the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from grange.databases.checks import check_store
from grange.databases.findings import Level
from grange.errors import ConfigurationError, MembershipUnavailable, StorageUnavailable
from grange.membership.urls import open_table, try_table
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.sets import Stamp
from grange.storage.stores.postgres import PostgresStorage
from grange.storage.urls import open_storage, try_storage
from grange.testing.contracts.membership_samples import a_silo, insert
from tests.databases.pooler import PGBOUNCER, PgBouncer, Streams, a_pooler, refusal

GRAINS = [GrainId("cart", f"customer-{number}") for number in range(20)]


@asynccontextmanager
async def behind(kind: str, url: str) -> AsyncIterator[str]:
    if kind in ("refuses parameters", "ignores parameters"):
        async with a_pooler(url, ignores=kind.startswith("ignores")) as pooler:
            yield pooler.url
    else:
        with PgBouncer(url, kind.rpartition(" ")[2]) as server:
            yield server.url


WORKING = ["refuses parameters", "ignores parameters"]
WORKING += ["pgbouncer: session", "pgbouncer: transaction"] if PGBOUNCER else []


@pytest.fixture(params=WORKING)
async def pooled_url(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[str]:
    async with behind(request.param, postgres_url) as url:
        yield url


async def test_state_works(pooled_url: str) -> None:
    """The tables are made, many grains write at once, and a dead silo is refused, whichever session serves a change."""
    async with open_storage(pooled_url, "svc") as storage:
        assert isinstance(storage, PostgresStorage)
        assert storage._link.pooled

        async def live(grain: GrainId) -> None:
            etag = None
            for number in range(10):
                etag = await storage.write(grain, "s", f"{number}".encode(), etag, stamp=Stamp(WRITER, number))
                assert (await storage.read(grain, "s")).payload == f"{number}".encode()

        await asyncio.gather(*map(live, GRAINS))
        await storage.fence([WRITER])
        held = await storage.read(GRAINS[0], "s")
        with pytest.raises(Exception, match="was declared dead"):
            await storage.write(GRAINS[0], "s", b"99", held.etag, stamp=Stamp(WRITER, 99))
        assert await storage.clear(GRAINS[0], "s", held.etag) == str(int(held.etag or 0) + 1)


WRITER = SiloAddress("10.0.0.1", 11111, 1)


async def test_membership_works(pooled_url: str) -> None:
    async with open_table(pooled_url, "one") as table, open_table(pooled_url, "one") as other:
        known = await insert(table, a_silo(1))
        changes = [each.insert(a_silo(number), known.version) for number, each in enumerate((table, other), 2)]
        assert sorted(await asyncio.gather(*changes)) == [False, True]
        assert await table.read() == await other.read()


async def test_the_doctor_tries_it_and_asks_for_a_limit(pooled_url: str) -> None:
    """Grange cannot set the time limit of a statement in a pooler's session, so the role needs one."""
    levels = {finding.subject: finding.level for finding in await check_store(pooled_url)}
    assert levels["pooler"] is Level.WARN
    findings = [*await try_table(pooled_url, "one"), *await try_storage(pooled_url, "svc")]
    assert [finding.level for finding in findings] == [Level.OK, Level.OK]


async def test_postgres_itself_is_not_taken_for_a_pooler(postgres_url: str) -> None:
    async with open_storage(postgres_url, "svc") as storage:
        assert isinstance(storage, PostgresStorage)
        assert not storage._link.pooled


async def opens(url: str) -> list[Exception]:
    """The errors of a table, of a storage and of the check."""

    async def enter(context: AsyncExitStack, what: object) -> None:
        await context.enter_async_context(what)  # type: ignore[arg-type]

    caught: list[Exception] = []
    for opened in (open_table(url, "one"), open_storage(url, "svc")):
        with pytest.raises(Exception) as found:  # noqa: PT011 (the caller checks it)
            async with AsyncExitStack() as stack:
                await enter(stack, opened)
        caught.append(found.value)
    with pytest.raises(Exception) as found:  # noqa: PT011
        await check_store(url)
    return [*caught, found.value]


MODES = ["emulated"] + (["pgbouncer: statement"] if PGBOUNCER else [])


@pytest.mark.parametrize("kind", MODES)
async def test_statement_mode_is_refused_by_name(kind: str, postgres_url: str) -> None:
    async with AsyncExitStack() as stack:
        if kind == "emulated":
            url = (await stack.enter_async_context(a_pooler(postgres_url, statements=True))).url
        else:
            url = stack.enter_context(PgBouncer(postgres_url, "statement")).url
        for error in await opens(url):
            assert isinstance(error, ConfigurationError), error
            assert "set pool_mode = session or transaction" in str(error)


async def test_a_pooler_that_fails_without_the_parameter_too(postgres_url: str) -> None:
    """It is no outage: the parameter that was refused is named, with what to set."""
    async with a_pooler(postgres_url, silent=True) as pooler:
        for error in await opens(pooler.url):
            assert isinstance(error, ConfigurationError), error
            assert "unsupported startup parameter: statement_timeout" in str(error)
            assert "ignore_startup_parameters" in str(error)


async def test_a_pooler_with_another_isolation_is_refused(postgres_url: str) -> None:
    """A dead silo could write: `grange_apply` must see what was committed while it waited for its lock."""
    connection = await asyncpg.connect(postgres_url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    await connection.close()
    async with a_pooler(postgres_url, ignores=True) as pooler:
        for error in await opens(pooler.url):
            assert isinstance(error, ConfigurationError), error
            assert "SET default_transaction_isolation = 'read committed'" in str(error)
    async with open_storage(postgres_url, "svc"):
        pass  # without a pooler grange sets it itself


async def test_a_pooler_whose_server_is_down_is_an_outage(postgres_url: str) -> None:
    """PgBouncer's own words for it have the same code as its refusals."""
    answer = "server login has been failing, try again later (server_login_retry)"
    async with a_refusing_server("08P01", answer) as url:
        table, storage, check = await opens(url)
    assert isinstance(table, MembershipUnavailable)
    assert isinstance(storage, StorageUnavailable)
    assert not isinstance(check, ConfigurationError)


@pytest.mark.parametrize(
    ("state", "text", "remedy"),
    [
        ("08P01", "no such database: shop", "add it to the pooler, or correct the URL"),
        ("08P01", "no such user: ann", "correct user and password"),
        ("08P01", "SASL authentication failed", "correct user and password"),
        ("28P01", 'password authentication failed for user "ann"', "'%', '@', ':', '/', '?' and '#' of a password as"),
        ("28000", 'role "ann" is not permitted to log in', "ALTER ROLE ann LOGIN"),
        ("28000", 'no pg_hba.conf entry for host "10.0.0.9", user "ann", no encryption', "?sslmode=require"),
        ("3D000", 'database "db" does not exist', "createdb db"),
        ("42501", 'permission denied for database "db"', "GRANT CONNECT ON DATABASE db TO ann"),
        ("42704", 'unrecognized configuration parameter "x"', "correct or remove the option"),
    ],
)
async def test_a_refused_session_is_a_mistake_with_its_remedy(state: str, text: str, remedy: str) -> None:
    async with a_refusing_server(state, text) as url:
        for error in await opens(url):
            assert isinstance(error, ConfigurationError), error
            assert text in str(error)
            assert remedy in str(error)
            assert "s3cret" not in str(error)


@asynccontextmanager
async def a_refusing_server(state: str, text: str) -> AsyncIterator[str]:
    """Refuses every session with one error."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Streams(reader, writer).startup()
        writer.write(refusal(state, text))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    try:
        yield f"postgresql://ann:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}/db"
    finally:
        server.close()
