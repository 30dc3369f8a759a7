"""Whole frames over one plain socket: each is its length in four bytes, then the frame. See docs/wire.md.

The limit applies to the length, so a frame that is too long ends the socket before a byte of it is kept. A socket
keeps at most one frame and what the loop reads at once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from grange.errors import ConnectionLost

PING = 0xFFFFFFFF
"""A length that no frame has: the peer must send a sign of life now."""

ALIVE = 0xFFFFFFFE
"""A sign of life, because nothing else was sent for a while."""

END = 0xFFFFFFFD
"""The orderly end of writing. A stream that ends without it has broken: the system closes the sockets of a killed
process in the same way as an orderly one.
"""

PORTION = 64 * 1024
"""Bytes of frames that are delivered at once; then the loop may do other work."""

PORTION_FRAMES = 256
"""Frames and marks that are taken at once: a portion of the shortest would hold the loop for a fifth of a second."""

HOST_TIMEOUT = 30_000
"""Milliseconds in which the peer's system must confirm what was sent. A process that reads slowly may take longer than
its signs of life do, so this is only for hosts that are gone while frames are held.
"""

_LENGTH = struct.Struct(">I")
_ALIVE = _LENGTH.pack(ALIVE)


class FrameSink(Protocol):
    """Takes what arrives on a socket. No method may block or raise."""

    def on_frame(self, data: bytes) -> None:
        """One whole frame."""
        ...

    def on_end(self) -> None:
        """The peer writes no more."""
        ...

    def on_invalid(self, reason: str) -> None:
        """The peer does not keep the format; nothing further is read."""
        ...

    def on_writable(self) -> None:
        """Everything written has left this process, after a time in which it had not."""
        ...

    def on_closed(self, error: ConnectionLost) -> None:
        """The socket is closed; the last call."""
        ...


class FrameSocket(asyncio.Protocol):
    """One socket. Its sink is replaced when the handshake is over.

    `clear` is true while nothing written waits in this process; write only then. `heard` is the loop time of the last
    sign of life, `wrote` becomes true with each write. Methods belong to the loop's thread, except `show_life`.

    Data is sent at once and by this object, not by the loop: so another thread knows when nothing is half written, and
    may send a sign of life while the loop is blocked.
    """

    def __init__(
        self,
        limit: int,
        loop: asyncio.AbstractEventLoop,
        on_open: Callable[[FrameSocket], FrameSink],
        on_closed: Callable[[FrameSocket], None],
    ) -> None:
        self.limit = limit
        self.clear = True
        self.heard = loop.time()
        self.began = self.heard  # when the frame began that has not come whole, if `is_partial`
        self.wrote = False
        self.sink: FrameSink | None = None
        self._loop = loop
        self._on_open = on_open
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None  # of our own, for sending
        self._sending = threading.Lock()
        self._owed = b""  # the rest of a sign of life that the other thread could send in part only
        self._buffer = bytearray()
        self._needed = 0  # bytes in the buffer at which its first frame is whole
        self._held = False  # by the sink
        self._resting = False  # after a portion, until the loop has done other work
        self._ended = False  # the peer's stream has ended; frames that are held come first
        self._over = False  # nothing further is read
        self._aborted = False  # nor written

    # -- for the sink --

    def write(self, data: bytes) -> None:
        """Send one frame."""
        self._send(_LENGTH.pack(len(data)) + data)

    def mark(self, mark: int) -> None:
        """Send a mark."""
        self._send(_LENGTH.pack(mark))

    def hold(self) -> None:
        """Deliver no more frames, and read no more."""
        if not self._held:
            self._held = True
            self._read(False)

    def proceed(self) -> None:
        """Deliver and read again."""
        if self._held:
            self._held = False
            self.heard = self._loop.time()  # a sign of life may have waited in the system
            self._continue()

    @property
    def held(self) -> bool:
        """Whether `hold` was called: signs of life of the peer are not read then."""
        return self._held

    @property
    def is_ready(self) -> bool:
        """Whether the peer can read what is written now; with TLS, after its handshake."""
        return True

    @property
    def peer_host(self) -> str:
        """The host of the peer; empty once the socket is closed."""
        place = None if self._transport is None else self._transport.get_extra_info("peername")
        return str(cast("tuple[object, ...]", place)[0]) if isinstance(place, tuple) else ""

    @property
    def is_partial(self) -> bool:
        """Whether a frame has come in part, and its rest would be read."""
        return bool(self._buffer) and not self._stopped()

    def ignore_rest(self) -> None:
        """Drop all that arrives from now on: closing a socket with unread data would take back what was written."""
        self._over = True
        self._buffer.clear()
        self._read(True)

    def watch_host(self, seconds: float) -> None:
        """Have the system find a host that is gone, also while signs of life are not read because frames are held."""
        whole = max(1, round(seconds))
        for name, value in (("TCP_KEEPIDLE", whole), ("TCP_KEEPINTVL", whole), ("TCP_USER_TIMEOUT", HOST_TIMEOUT)):
            option = getattr(socket, name, None)
            if self._socket is not None and option is not None:
                with suppress(OSError):  # closed, or another kind of system
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    self._socket.setsockopt(socket.IPPROTO_TCP, option, value)

    def abort(self) -> None:
        """Close the socket; what waits in this process is not sent."""
        self._over = self._aborted = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def certificate(self) -> bytes | None:
        """The certificate of the peer, DER; None: this socket has no TLS."""
        return None

    @property
    def refusal(self) -> str:
        """Why TLS failed; empty if it did not."""
        return ""

    def show_life(self) -> None:
        """Send a sign of life, if nothing is half written. For another thread, while the loop is blocked."""
        with self._sending:
            if self._socket is None or not self.clear or self._owed:
                return
            if not (sign := self._sign_of_life()):
                return
            sent = 0
            with suppress(OSError):  # full, or broken: the loop notices
                sent = self._socket.send(sign)
            self._owed = sign[sent:]

    # -- asyncio.Protocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        plain = transport.get_extra_info("socket")
        self._socket = socket.fromfd(plain.fileno(), plain.family, plain.type)
        self._socket.setblocking(False)
        self.sink = self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived."""
        self.heard = self._loop.time()
        if self._over:
            return
        if self._buffer or self._held or self._resting:
            self._buffer += data
            if self._stopped() or len(self._buffer) < self._needed:
                return
            data = self._take_buffer()
        self._parse(data)

    def eof_received(self) -> bool:
        """asyncio: the peer closed the socket."""
        self._ended = True
        if self._stopped():
            return True
        self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the socket is closed."""
        self._over = True
        with self._sending:
            own, self._socket = self._socket, None
            if own is not None:
                own.close()
        if self.sink is not None:
            self.sink.on_closed(self._end_reason(exc))
        self._on_closed(self)

    def pause_writing(self) -> None:
        """asyncio: data waits in this process."""
        self.clear = False

    def resume_writing(self) -> None:
        """asyncio: none waits any more, so the peer has read something."""
        self.heard = self._loop.time()
        self.clear = True
        if self.sink is not None:
            self.sink.on_writable()

    # -- inside --

    def _send(self, data: bytes) -> None:
        self.wrote = True
        with self._sending:
            self._send_now(data)

    def _send_now(self, data: bytes) -> None:
        """Send, with the lock held."""
        if self._owed:
            data, self._owed = self._owed + data, b""
        own = self._socket
        if own is None or self._transport is None or self._aborted:
            return  # `on_closed` comes
        sent = 0
        if self.clear and data:
            with suppress(OSError):  # full, or broken: the loop finds out which
                sent = own.send(data)
        if sent < len(data):
            self._transport.write(memoryview(data)[sent:] if sent else data)

    def _sign_of_life(self) -> bytes:
        """The bytes of a sign of life, with the lock held; empty: none can be sent now."""
        return _ALIVE

    def _end_reason(self, exc: Exception | None) -> ConnectionLost:
        return ConnectionLost(
            f"the connection broke: {exc}" if exc is not None else "the other side broke the connection"
        )

    def _parse(self, data: bytes) -> None:
        """Deliver the frames in `data`, and keep the rest."""
        at, end, asked, left = 0, len(data), False, PORTION_FRAMES
        while end - at >= 4 and not (self._held or self._over):
            (length,) = _LENGTH.unpack_from(data, at)
            is_mark = length > self.limit
            stop = at + 4 if is_mark else at + 4 + length
            if stop > end:
                break
            if at >= PORTION or not left:
                self._rest()
                break
            left -= 1
            if is_mark:
                asked = asked or length == PING
                self._on_mark(length)
            elif self.sink is not None:
                self.sink.on_frame(data[at + 4 : stop])
            at = stop
        if at < end and not self._over:
            self._keep(data[at:] if at else data)
        if asked and self.clear:  # else the peer has something to read
            self.mark(ALIVE)

    def _keep(self, rest: bytes) -> None:
        self._buffer += rest
        self.began = self._loop.time()
        self._needed = 4 + _LENGTH.unpack_from(rest)[0] if len(rest) >= 4 else 4

    def _take_buffer(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def _rest(self) -> None:
        """Let the loop do other work before the next portion."""
        self._resting = True
        self._read(False)
        self._loop.call_soon(self._end_rest)

    def _end_rest(self) -> None:
        self._resting = False
        self._continue()

    def _continue(self) -> None:
        """Deliver what was held, unless there is another reason to hold it; then read again."""
        if self._stopped() or self._over:
            return
        self._parse(self._take_buffer())
        if self._stopped():
            return
        if self._ended:
            self.abort()
        else:
            self._read(True)

    def _stopped(self) -> bool:
        return self._held or self._resting

    def _read(self, on: bool) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.is_reading() is not on:
            (transport.resume_reading if on else transport.pause_reading)()

    def _on_mark(self, length: int) -> None:
        if length == END:
            if self.sink is not None:
                self.sink.on_end()
        elif length not in (PING, ALIVE):
            self._over = True
            if self.sink is not None:
                self.sink.on_invalid(f"a frame of {length:,} bytes is over the limit of {self.limit:,}")
