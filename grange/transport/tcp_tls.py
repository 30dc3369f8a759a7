"""TLS on the socket road: a `FrameSocket` that seals what it sends and opens what arrives.

TLS is done here in memory and not by the event loop's streams: a record must leave whole and in order, also the sign of
life that a thread sends while a turn blocks the loop. So both threads seal and send under the lock of the socket.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from grange.errors import ConnectionLost
from grange.transport.tcp_socket import FrameSink, FrameSocket
from grange.transport.tls import Tls
from grange.transport.tls_faults import NEEDS_TLS, NOT_TLS, TlsFault, fault_of

HANDSHAKE = 0x16
"""The first byte of TLS: a record of the handshake. A frame of a handshake begins with 0: it is below 16 MiB."""

RECORD = 16 * 1024
"""Most bytes of a record of TLS (RFC 8446, section 5.1)."""


class TlsStream:
    """TLS without a socket: bytes in, bytes out. For one thread at a time."""

    def __init__(self, context: ssl.SSLContext, name: str | None) -> None:
        """`name` is the name that the other side must have; None: this is the accepting side."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=name is None, server_hostname=name)
        self._early = bytearray()
        self.is_open = False
        """Whether this side has ended the handshake."""
        self.has_ended = False
        """Whether the other side has said that it sends no more: what arrives after that is not taken."""

    def begin(self) -> None:
        """Make the first record of the handshake."""
        self._shake_hands()

    def feed(self, data: bytes) -> bytes:
        """Take what has arrived, and return what it says. Raises ssl.SSLError; `sealed` has the alert then.

        Call `sealed` afterwards: the handshake answers.
        """
        if self.has_ended:
            return b""
        self._incoming.write(data)
        if not self.is_open and not self._shake_hands():
            return b""
        parts: list[bytes] = []
        while self._incoming.pending or self._tls.pending():
            try:
                part = self._tls.read(RECORD)
            except ssl.SSLWantReadError:
                break
            if not part:  # the other side has ended: TLS reads no more, and would keep the rest
                self.has_ended = True
                break
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: bytes) -> None:
        """Seal these bytes; those of the time before the handshake has ended are kept until then."""
        if not self.is_open:
            self._early += data
            return
        written = self._tls.write(data)
        while written < len(data):  # a record at a time
            written += self._tls.write(memoryview(data)[written:])

    def sealed(self) -> bytes:
        """The records to send."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def certificate(self) -> bytes:
        """The certificate of the other side, DER; empty if it has shown none."""
        return self._tls.getpeercert(binary_form=True) or b""

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.is_open = True
        early, self._early = bytes(self._early), bytearray()
        if early:
            self.write(early)
        return True


class TlsFrameSocket(FrameSocket):
    """A socket with TLS. On the accepting side the first byte tells whether the peer uses it.

    `_stream` is None until that byte has come, and with a peer that does not use TLS.
    """

    def __init__(
        self,
        limit: int,
        loop: asyncio.AbstractEventLoop,
        callbacks: tuple[Callable[[FrameSocket], FrameSink], Callable[[FrameSocket], None]],
        tls: Tls,
        *,
        accepting: bool,
    ) -> None:
        super().__init__(limit, loop, *callbacks)
        self._tls = tls
        self._accepting = accepting
        self._stream: TlsStream | None = None
        self._decided = False
        self._fault: TlsFault | None = None

    @property
    def certificate(self) -> bytes | None:
        return None if self._stream is None else self._stream.certificate()

    @property
    def is_ready(self) -> bool:
        return self._decided if self._stream is None else self._stream.is_open

    @property
    def refusal(self) -> str:
        return "" if self._fault is None else self._fault.text

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is open."""
        super().connection_made(transport)
        if not self._accepting:
            stream = TlsStream(self._tls.client_context, self._tls.name)
            stream.begin()
            with self._sending:
                self._stream, self._decided = stream, True
                self._send_now(stream.sealed())

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived."""
        if not self._decided:
            self._decide(data[0])
        if self._stream is not None:
            self.heard = self._loop.time()
            if self._over:
                return
            data = self._open(self._stream, data)
        if data:
            super().data_received(data)
        if self._stream is not None and self._stream.has_ended and not self._over:
            self.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the socket is closed."""
        if self._stream is not None and not self._stream.is_open and self._fault is None and not self._aborted:
            self._fail(exc or ConnectionResetError())
        super().connection_lost(exc)

    def _decide(self, first: int) -> None:
        """The first byte of an accepted socket has come."""
        if first == HANDSHAKE:
            self._stream = TlsStream(self._tls.server_context, None)
        self._decided = True  # last: until then the other thread sends nothing
        if self._stream is None and self._tls.required and self.sink is not None:
            self._over = True
            self._tls.on_refused(NOT_TLS.word, "a caller does not use TLS, which this port requires")
            self.sink.on_invalid(NEEDS_TLS.text)

    def _open(self, stream: TlsStream, data: bytes) -> bytes:
        """What arrived, without TLS; empty if there is nothing yet, or TLS has failed."""
        with self._sending:
            try:
                plain = stream.feed(data)
            except ssl.SSLError as error:
                self._send_now(stream.sealed())  # the alert
                self._fail(error)
                plain = b""
            else:
                self._send_now(stream.sealed())
        if self._fault is not None:
            self.abort()
        return plain

    def _fail(self, error: Exception) -> None:
        self._fault = fault_of(error)
        if self._accepting:
            self._tls.on_refused(self._fault.word, self._fault.text)

    def _end_reason(self, exc: Exception | None) -> ConnectionLost:
        return super()._end_reason(exc) if self._fault is None else ConnectionLost(self.refusal)

    def _send(self, data: bytes) -> None:
        self.wrote = True
        with self._sending:
            self._send_now(self._sealed(data))

    def _sealed(self, data: bytes) -> bytes:
        if self._stream is None:
            return data
        if self._fault is not None:
            return b""  # TLS writes no more; `on_closed` comes
        self._stream.write(data)
        return self._stream.sealed()

    def _sign_of_life(self) -> bytes:
        if self._stream is None:
            return super()._sign_of_life() if self._decided else b""
        return self._sealed(super()._sign_of_life()) if self._stream.is_open else b""
