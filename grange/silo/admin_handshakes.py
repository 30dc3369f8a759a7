"""The handshakes of TLS on the admin port: limited in number and in time, as its connections are.

A server of asyncio makes the protocol of a connection after the handshake; until then it neither counts it nor ends it
soon. So the handshake is done here, and the protocol of HTTP gets the connection afterwards.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from grange.errors import GrangeError


class Handshakes:
    """The handshakes in progress of one port. `most`: above, the oldest one ends. `seconds`: the time for each."""

    def __init__(self, context: Callable[[], ssl.SSLContext], most: int, seconds: float) -> None:
        self.context = context
        self.seconds = seconds
        self._most = most
        self._in_progress: dict[TlsEntrance, asyncio.Task[None]] = {}  # the oldest first

    def begin(self, entrance: TlsEntrance) -> None:
        """Shake hands on a new connection."""
        while len(self._in_progress) >= self._most:
            oldest = next(iter(self._in_progress))
            del self._in_progress[oldest]  # its task ends with its socket
            oldest.abort()
        task = asyncio.get_running_loop().create_task(entrance.shake_hands(), name="TLS handshake of the admin port")
        self._in_progress[entrance] = task
        task.add_done_callback(lambda _: self._in_progress.pop(entrance, None))

    async def end(self) -> None:
        """End those in progress."""
        tasks = list(self._in_progress.values())
        for entrance in list(self._in_progress):
            entrance.abort()
        await asyncio.gather(*tasks, return_exceptions=True)


class TlsEntrance(asyncio.Protocol):
    """One accepted connection until its handshake is over. `make` makes the protocol that gets it then."""

    def __init__(self, handshakes: Handshakes, make: Callable[[], asyncio.Protocol]) -> None:
        self._handshakes = handshakes
        self._make = make
        self._transport: asyncio.Transport | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is open."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()  # until `start_tls`
        self._handshakes.begin(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes that came with the end of the handshake."""
        self._early += data

    def abort(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.abort()

    async def shake_hands(self) -> None:
        """Do the handshake, and hand the connection over. A peer that fails is closed without a word."""
        assert self._transport is not None
        if self._transport.is_closing():  # ended already, before it took the memory of TLS
            return
        loop, handshakes = asyncio.get_running_loop(), self._handshakes
        try:
            secured = await loop.start_tls(
                self._transport, self, handshakes.context(), server_side=True, ssl_handshake_timeout=handshakes.seconds
            )
        except (OSError, GrangeError):  # errors of TLS and time-outs are OSErrors
            self.abort()
            return
        if secured is None or self._transport.is_closing():
            self.abort()
            return
        protocol = self._make()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        if self._early:
            protocol.data_received(bytes(self._early))
