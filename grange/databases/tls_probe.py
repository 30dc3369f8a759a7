"""Finds out whether a port that gave no answer speaks TLS or not, so that the error can name the right scheme.

Used by `redis.py` after a connection failed: a plain port does not answer a TLS greeting, and a TLS port closes a plain
connection, both without a word.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

SECONDS = 0.5
"""Time limit of one probe, in seconds: a port that can be reached answers in milliseconds."""


async def speaks_plain(host: str, port: int) -> bool:
    """Whether a Redis answers there without TLS."""
    async with _connection(host, port, None) as connection:
        if connection is None:
            return False
        reader, writer = connection
        try:
            async with asyncio.timeout(SECONDS):
                writer.write(b"PING\r\n")
                return await reader.read(1) in (b"+", b"-")
        except (TimeoutError, OSError):
            return False


async def speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake succeeds there. The certificate is not verified: no data are sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with _connection(host, port, context) as connection:
        return connection is not None


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def _connection(host: str, port: int, context: ssl.SSLContext | None) -> AsyncGenerator[Streams | None]:
    """A connection; None if there is none in time."""
    streams: Streams | None = None
    try:
        async with asyncio.timeout(SECONDS):
            streams = await asyncio.open_connection(host, port, ssl=context)
    except (TimeoutError, OSError):
        pass
    try:
        yield streams
    finally:
        if streams is not None:
            streams[1].transport.abort()
