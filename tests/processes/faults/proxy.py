"""A byte-level TCP proxy between silos and one store, for faults above the packet level. Controlled while it runs.

`latency` delays every chunk in both directions; `reset` ends connections with a RST, as a crashed or rebooted host
does; `refuse` resets every new connection; a trap (`traps.py`) reads the bytes and decides when to lose a reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

CHUNK = 65536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Trap(Protocol):
    """Reads the bytes of one connection. Bytes that it does not return never arrive."""

    def up(self, chunk: bytes) -> bytes:
        """Take bytes from client to server; returns those that pass."""
        ...

    def down(self, chunk: bytes) -> bytes:
        """Take bytes from server to client; returns those that pass."""
        ...

    @property
    def sprung(self) -> bool:
        """Whether the reply was lost and the connection is to be reset."""
        ...


class Proxy:
    """Listens on a given socket and forwards to a Unix socket. `async with` runs it; it owns all its tasks."""

    def __init__(
        self, listener: socket.socket, upstream: Path, trap: Callable[[Callable[[], bool]], Trap] | None = None
    ) -> None:
        self._listener = listener
        self._upstream = upstream
        self._trap = trap
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self.latency = 0.0
        self.refuse = False
        self.resets = 0
        self.to_lose = 0
        """Number of matching replies still to lose."""

    def _choose(self) -> bool:
        chosen = self.to_lose > 0
        self.to_lose -= chosen
        return chosen

    def reset(self) -> int:
        """Reset every connection, both ends; returns how many."""
        connections = list(self._connections)
        for connection in connections:
            connection.reset()
        return len(connections)

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, sock=self._listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refuse:
            cut_off(writer)
            return
        try:
            server = await asyncio.open_unix_connection(str(self._upstream))
        except OSError:  # the store is down: the client gets a reset
            cut_off(writer)
            return
        trap = self._trap(self._choose) if self._trap is not None else None
        connection = _Connection(self, (reader, writer), server, trap)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


class _Connection:
    """One client with its own connection to the store."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        trap: Trap | None,
    ) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._trap = trap

    async def run(self) -> None:
        """Run until both sides have ended, or until a reset."""
        ways = (
            asyncio.create_task(self._pass(self._client[0], self._server[1], upward=True)),
            asyncio.create_task(self._pass(self._server[0], self._client[1], upward=False)),
        )
        try:
            await asyncio.wait(ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for _, writer in (self._client, self._server):
                writer.close()

    def reset(self) -> None:
        self._proxy.resets += 1
        for _, writer in (self._client, self._server):
            cut_off(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upward: bool) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                if self._proxy.latency:
                    await asyncio.sleep(self._proxy.latency)
                if self._trap is not None:
                    chunk = self._trap.up(chunk) if upward else self._trap.down(chunk)
                    if self._trap.sprung:
                        self.reset()
                        return
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):  # either end may close at any time, also during a write
            for _, each in (self._client, self._server):
                cut_off(each)


def cut_off(writer: asyncio.StreamWriter) -> None:
    """Close with a RST: queued bytes are discarded, and the peer gets "connection reset"."""
    made = writer.get_extra_info("socket")
    if made is not None and made.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):  # it is closed already
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
