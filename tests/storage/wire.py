"""A TCP relay in front of a real server that can be silenced or cut, as a network can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit


class Wire:
    """Relays connections to one server. `silent` holds every byte back, `deaf` those of the server.

    `cut` breaks all connections and refuses new ones.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        self._parts = parts
        self._port = 0
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The server's URL through this relay."""
        login, at, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(self._parts._replace(netloc=f"{login}{at}127.0.0.1:{self._port}"))

    @property
    def server_url(self) -> str:
        """The same server without this relay."""
        return urlunsplit(self._parts)

    def silent(self) -> None:
        self._flowing.clear()

    def deaf(self) -> None:
        """From now on the server receives everything, and its answers are held back."""
        self._answering.clear()

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def join(self) -> None:
        self._flowing.set()
        self._answering.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            try:
                back = self._pump(far_reader, writer, self._answering)
                await asyncio.gather(self._pump(reader, far_writer, self._flowing), back)
            finally:
                far_writer.transport.abort()
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            await passing.wait()
            writer.write(data)
        raise asyncio.CancelledError


@asynccontextmanager
async def a_wire(url: str) -> AsyncIterator[Wire]:
    wire = Wire(url)
    await wire.join()
    try:
        yield wire
    finally:
        await wire.cut()
