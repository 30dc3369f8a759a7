"""The ports that are attacked, and how an attacker reaches them: with TLS where the port has it, or without."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import grpc
import grpc.aio

Protocol = Literal["grpc", "socket", "http"]

PATIENCE = 30.0
"""Seconds within which a silo must have ended what an attacker left open."""


class Wire:
    """One connection of an attacker: bytes out, bytes in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> bool:
        """Send bytes. Returns whether the silo still takes them."""
        if self.writer.transport.is_closing():
            return False
        try:
            self.writer.write(b"".join(parts))
            async with asyncio.timeout(PATIENCE):
                await self.writer.drain()
        except OSError:
            return False
        return True

    async def frame(self, data: bytes) -> bool:
        """Send one frame of the socket road."""
        return await self.send(struct.pack(">I", len(data)), data)

    async def read_frame(self) -> bytes:
        """The next frame of the socket road; marks are skipped. Raises EOFError or OSError if the silo closed it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                (length,) = struct.unpack(">I", await self.reader.readexactly(4))
                if length < 0xFFFFFFF0:
                    return await self.reader.readexactly(length)

    async def ended(self) -> bytes:
        """All that the silo still says, until it closes the connection. Raises TimeoutError if it does not."""
        said = bytearray()
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while data := await self.reader.read(65536):
                    said += data
        return bytes(said)

    def abort(self) -> None:
        self.writer.transport.abort()


@dataclass(frozen=True)
class Place:
    """One open port. `client_tls` is the context with which an honest client reaches it; None: without TLS.

    `credentials` are the same for gRPC, and `server_name` is the name that the certificate has. `cluster` and `role`
    are those of a Hello that would be admitted.
    """

    name: str
    protocol: Protocol
    port: int
    role: Literal["silo", "client"] = "client"
    client_tls: ssl.SSLContext | None = None
    credentials: grpc.ChannelCredentials | None = None
    server_name: str = ""
    host: str = "127.0.0.1"

    @contextlib.asynccontextmanager
    async def wire(self, *, tls: bool = True) -> AsyncIterator[Wire]:
        """A connection, with TLS if the port has it (`tls` false: without TLS in any case)."""
        wire = await self.open(tls=tls)
        try:
            yield wire
        finally:
            wire.abort()

    async def open(self, *, tls: bool = True) -> Wire:
        context = self.client_tls if tls else None
        name = self.server_name if context is not None else None
        if self.protocol == "grpc" and context is not None:
            context.set_alpn_protocols(["h2"])
        return Wire(*await asyncio.open_connection(self.host, self.port, ssl=context, server_hostname=name))

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        """A gRPC channel of its own."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        target = f"{self.host}:{self.port}"
        if self.credentials is None:
            channel = grpc.aio.insecure_channel(target, options=options)
        else:
            options.append(("grpc.ssl_target_name_override", self.server_name))  # type: ignore[arg-type]
            channel = grpc.aio.secure_channel(target, self.credentials, options=options)
        try:
            yield channel
        finally:
            await channel.close()
