"""A small connection pooler in front of a real Postgres that behaves as PgBouncer does, and PgBouncer itself."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from grange.servers.process import LOOPBACK, PROBE_SECONDS, ServerProcess

KEPT = {"user", "database", "client_encoding", "application_name"}
"""The parameters of a session that the pooler keeps."""

SSL_REQUEST = 80877103
CANCEL_REQUEST = 80877102
_SIZE = 4


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + _SIZE).to_bytes(_SIZE) + body


def refusal(state: str, text: str) -> bytes:
    return message(b"E", f"SFATAL\0C{state}\0M{text}\0\0".encode())


class Streams:
    """One connection that carries whole messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def startup(self) -> dict[str, str]:
        """The parameters with which a client opens its session; TLS is declined."""
        while True:
            body = await self._reader.readexactly(int.from_bytes(await self._reader.readexactly(_SIZE)) - _SIZE)
            if int.from_bytes(body[:_SIZE]) == SSL_REQUEST:
                self.writer.write(b"N")
                continue
            if int.from_bytes(body[:_SIZE]) == CANCEL_REQUEST:
                raise ConnectionError("a request to cancel a statement")
            words = body[_SIZE:].decode().split("\0")
            return dict(zip(words[0::2], words[1::2], strict=False))

    async def read(self) -> tuple[bytes, bytes]:
        kind = await self._reader.readexactly(1)
        size = int.from_bytes(await self._reader.readexactly(_SIZE))
        return kind, await self._reader.readexactly(size - _SIZE)


class Pooler:
    """Gives each transaction the session that was idle for longest, so two in a row never share one.

    `ignores`: parameters of a session that it does not keep are ignored, not refused. `statements`: as PgBouncer's
    `pool_mode = statement`, it refuses transactions. `silent`: a connection that passed the parameters is closed.
    """

    def __init__(
        self, url: str, *, ignores: bool = False, statements: bool = False, silent: bool = False, sessions: int = 3
    ) -> None:
        self._parts = urlsplit(url)
        self._ignores, self._statements, self._silent = ignores, statements, silent
        self._sessions = sessions
        self._idle: asyncio.Queue[Streams] = asyncio.Queue()
        self._greeting = b""
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.transactions = 0

    async def open(self) -> asyncio.Server:
        for _ in range(self._sessions):
            self._idle.put_nowait(await self._session())
        server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        port = server.sockets[0].getsockname()[1]
        self.url = urlunsplit(self._parts._replace(netloc=f"{self._parts.username}@{LOOPBACK}:{port}"))
        return server

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        while not self._idle.empty():
            writer = self._idle.get_nowait().writer
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _session(self) -> Streams:
        streams = Streams(*await asyncio.open_connection(self._parts.hostname, self._parts.port))
        words = f"user\0{self._parts.username}\0database\0{self._parts.path[1:]}\0\0".encode()
        streams.writer.write((len(words) + 8).to_bytes(_SIZE) + (196608).to_bytes(_SIZE) + words)
        greeting = b""
        kind = b""
        while kind != b"Z":
            kind, body = await streams.read()
            greeting += message(kind, body)
        self._greeting = greeting
        return streams

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(Streams(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, client: Streams) -> None:
        unknown = [name for name in await client.startup() if name and name not in KEPT]
        if unknown and not self._ignores:
            await self._refuse(client, f"unsupported startup parameter: {unknown[0]}")
        if self._silent:
            return
        client.writer.write(self._greeting)
        while True:
            first = await client.read()
            if first[0] == b"X":
                return
            if self._statements and first[1].startswith(b"BEGIN"):
                await self._refuse(client, "transaction blocks not allowed in statement pooling mode")
            session = await self._idle.get()
            try:
                await self._transaction(client, session, first)
            except (asyncio.IncompleteReadError, ConnectionError):  # the client is gone: its session is not used again
                session.writer.transport.abort()
                self._idle.put_nowait(await self._session())
                raise
            except BaseException:
                session.writer.transport.abort()
                raise
            self._idle.put_nowait(session)

    async def _transaction(self, client: Streams, session: Streams, first: tuple[bytes, bytes]) -> None:
        """Relay until the session is outside of a transaction and has answered everything."""
        self.transactions += 1
        asked, sent = 0, first
        while True:
            session.writer.write(message(*sent))
            asked += sent[0] in (b"Q", b"S")
            if sent[0] in (b"Q", b"S", b"H"):
                ended = await self._answers(client, session, until_ready=sent[0] != b"H")
                if ended:
                    return
            sent = await client.read()

    async def _answers(self, client: Streams, session: Streams, until_ready: bool) -> bool:
        """Relay answers. After a Flush they end with the description of a statement, or with an error."""
        while True:
            kind, body = await session.read()
            client.writer.write(message(kind, body))
            if kind == b"Z":
                return body == b"I"
            if not until_ready and kind in (b"T", b"n", b"E"):
                return False

    async def _refuse(self, client: Streams, text: str) -> None:
        client.writer.write(refusal("08P01", text))
        await client.writer.drain()
        raise ConnectionError(text)


@asynccontextmanager
async def a_pooler(
    url: str, *, ignores: bool = False, statements: bool = False, silent: bool = False
) -> AsyncIterator[Pooler]:
    pooler = Pooler(url, ignores=ignores, statements=statements, silent=silent)
    server = await pooler.open()
    try:
        yield pooler
    finally:
        server.close()
        await pooler.close()


PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer(ServerProcess):
    """The pooler itself, where it is installed. `Pooler` takes its part where it is not."""

    name = "pgbouncer"
    unprivileged = True

    def __init__(self, url: str, mode: str) -> None:
        super().__init__()
        self._parts = urlsplit(url)
        self._mode = mode

    @property
    def url(self) -> str:
        return urlunsplit(self._parts._replace(netloc=f"{self._parts.username}@{LOOPBACK}:{self.port}"))

    def command(self) -> Sequence[str]:
        path = Path(self.folder) / "pgbouncer.ini"
        path.write_text(
            f"[databases]\n* = host={LOOPBACK} port={self._parts.port} user={self._parts.username}\n"
            f"[pgbouncer]\nlisten_addr = {LOOPBACK}\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = {self._mode}\ndefault_pool_size = 20\n"
        )
        path.chmod(0o644)
        assert PGBOUNCER is not None
        return [PGBOUNCER, str(path)]

    def answers(self, pid: int) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), PROBE_SECONDS):
                return True
        except OSError:
            return False
