"""The proxy and its traps behave as the rows of the fault matrix require."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from grange.servers.process import LOOPBACK
from tests.processes.faults.network import Loopback, listening
from tests.processes.faults.proxy import Proxy
from tests.processes.faults.stores import Postgres, Redis
from tests.processes.faults.traps import LostCommit, LostReply


@asynccontextmanager
async def echo(folder: Path) -> AsyncGenerator[Proxy]:
    """A proxy to a server that returns the bytes it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1000):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_unix_server(answer, folder / "echo")
    async with server, Proxy(listening(LOOPBACK), folder / "echo") as proxy:
        yield proxy


async def test_bytes_pass_in_both_directions(tmp_path: Path) -> None:
    async with echo(tmp_path) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        writer.write(b"x" * 300_000)
        writer.write_eof()
        received = await reader.readexactly(300_000)
        assert received == b"x" * 300_000
        writer.close()


async def test_latency_can_be_changed_live(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with echo(tmp_path) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        proxy.latency = 0.2
        began = loop.time()
        writer.write(b"ping")
        await reader.readexactly(4)
        assert loop.time() - began >= 0.4, "there and back"
        writer.close()


async def test_a_reset_is_a_reset_and_not_an_end(tmp_path: Path) -> None:
    async with echo(tmp_path) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        writer.write(b"ping")
        await reader.readexactly(4)
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        proxy.refuse = True
        reader, _ = await asyncio.open_connection(*proxy.address)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)


async def test_a_commit_is_stored_and_its_reply_is_lost() -> None:
    """Reads pass, a refusal passes; the next write is in the database and the client gets no answer."""
    with Postgres(Loopback()) as server:
        async with Proxy(listening(LOOPBACK), server.socket, LostCommit) as proxy:
            host, port = proxy.address
            look = await server.connect()
            await look.execute("CREATE TABLE held (number int)")
            client = await asyncpg.connect(host=host, port=port, user="postgres", database="postgres")
            proxy.to_lose = 1
            assert await client.fetchval("SELECT 1") == 1
            with pytest.raises(asyncpg.UndefinedTableError):
                await client.execute("INSERT INTO lost VALUES (1)")
            with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
                await client.fetch("INSERT INTO held VALUES ($1) RETURNING number", 7)
            assert await look.fetchval("SELECT number FROM held") == 7
            assert proxy.resets == 1
            again = await asyncpg.connect(host=host, port=port, user="postgres", database="postgres")
            await again.execute("INSERT INTO held VALUES (8)")
            await again.close()
            await look.close()


async def test_a_script_is_run_and_its_reply_is_lost() -> None:
    with Redis(Loopback()) as server:
        async with Proxy(listening(LOOPBACK), server.socket, LostReply) as proxy:
            host, port = proxy.address
            client = redis.asyncio.Redis(host=host, port=port, retry=Retry(NoBackoff(), 0), decode_responses=True)
            script = client.register_script("return redis.call('INCR', KEYS[1])")
            proxy.to_lose = 1
            assert await client.get("held") is None
            with pytest.raises(redis.exceptions.ConnectionError):
                await script(keys=["held"])
            assert await client.get("held") == "1"
            assert await script(keys=["held"]) == 2
            proxy.to_lose = 1
            with pytest.raises(redis.exceptions.ConnectionError):
                await client.eval("return redis.call('INCR', KEYS[1])", 1, "held")
            assert await client.get("held") == "3"
            await client.aclose()


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (4 + len(body)).to_bytes(4, "big") + body


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_trap_does_not_depend_on_how_bytes_are_cut(cut: int) -> None:
    greeting = (8).to_bytes(4, "big") + (196608).to_bytes(4, "big")
    reading = message(b"Q", b"SELECT 3\0")
    writing = message(b"P", b"s\0SELECT * FROM grange_apply($1)\0\0\0") + message(b"B", b"\0s\0") + message(b"E", b"\0")
    asked = greeting + reading + writing
    passing = message(b"C", b"SELECT 3\0") + message(b"Z", b"I") + message(b"D", b"row")
    answered = passing + message(b"C", b"SELECT 1\0") + message(b"Z", b"I")
    trap, passed = LostCommit(lambda: True), b""
    assert b"".join(trap.up(asked[at : at + cut]) for at in range(0, len(asked), cut)) == asked
    for at in range(0, len(answered), cut):
        assert not trap.sprung
        passed += trap.down(answered[at : at + cut])
    assert trap.sprung
    assert passed == passing
