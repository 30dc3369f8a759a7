"""A connection over a plain socket. No task moves its messages: the loop calls it when bytes arrive or may leave.

The first message of a turn of the loop schedules a flush for the end of that turn; so a lone message does not wait, and
a batch grows with the load. When enough is queued for a frame it is sent at once, so that the peer works meanwhile.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable

from grange.errors import ConnectionLost
from grange.proto.codec import InvalidFrame
from grange.transport.connection import BaseConnection
from grange.transport.handshake import Handshake
from grange.transport.options import TransportOptions
from grange.transport.tcp_socket import ALIVE, END, PING, FrameSocket

LATE = 1.0
"""Seconds by which a timer may be late; beyond, this process stood still, and what its peer sent is perhaps unread."""

ROUNDING = 0.001
"""Seconds by which the loop may call a timer early."""


class TcpConnection(BaseConnection):
    """One end of a connection, from the end of the handshake on. It is the sink of its socket.

    The orderly end is a mark in the stream. The opening side closes the socket when it has the mark of the accepting
    side, after which no answer can follow; the accepting side waits for that.
    """

    def __init__(
        self, socket: FrameSocket, options: TransportOptions, handshake: Handshake, *, accepting: bool
    ) -> None:
        super().__init__(options, handshake, accepting=accepting, loop=asyncio.get_running_loop())
        self._socket = socket
        socket.sink = self
        self._context = contextvars.Context()  # of no call: the request context of a poster must not leak
        self._writer_idle = True  # `post` calls `_wake_writer` always
        self._flush_due = False
        self._started = False
        self._sent_end = False
        self._end_timer: asyncio.TimerHandle | None = None
        self._ping_timer: asyncio.TimerHandle | None = None
        self._pinged_at = math.inf  # infinite: no ping is unanswered

    def start(self) -> None:
        """Move messages from now on: the greetings are exchanged, and the receiver is attached."""
        if self._ended:
            return
        self._socket.limit = self._options.frame_limit
        self._socket.watch_host(self._options.keepalive_time)
        self._started = True
        self._keep_alive_after(self._options.keepalive_time)
        self._context.run(self._flush)
        self._wake_reader()

    def kill(self, error: Exception | None = None) -> None:
        self._end(error)

    def on_released(self, act: Callable[[], None]) -> None:
        """Have `act` called when all resources are free."""
        self._released.add_done_callback(lambda _: act())

    # -- writing --

    def _wake_writer(self) -> None:
        if self._outbox.due:
            if self._send_frames():
                self._loop.call_soon(self._report_written, context=self._context)  # not inside `post`
        elif not self._flush_due:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush, context=self._context)

    def _flush(self) -> None:
        """Send what is queued; called by the loop."""
        self._flush_due = False
        if self._send_frames():
            self._report_written()

    def _send_frames(self) -> bool:
        """Send frames as long as they leave this process at once. Returns whether any was sent and all have left."""
        socket, outbox = self._socket, self._outbox
        if not self._started or self._ended or not socket.clear:
            return False
        waited = bool(outbox)
        while outbox and socket.clear:
            socket.write(self._encode(outbox.take()))
        if self._closing and not self._sent_end and socket.clear:
            self._sent_end = True
            socket.mark(END)
            if self._accepting:  # the peer closes the socket
                self._end_within_timeout()
        return waited and socket.clear

    def _report_written(self) -> None:
        if not self._ended and self._socket.clear:
            self._written()
            self._read_on()

    def on_writable(self) -> None:
        """FrameSink: report the frame that waited, and send what was queued meanwhile."""
        self._loop.call_soon(self._write_on, context=self._context)

    def _write_on(self) -> None:
        self._report_written()
        self._flush()

    # -- reading --

    def on_frame(self, data: bytes) -> None:
        """FrameSink: deliver a frame. The accepting side reads no further while its answers are not read."""
        if self._ended or (self._sent_end and self._accepting):
            return
        try:
            messages = self._frames.decode(data, self._options.frame_limit)
        except InvalidFrame as error:
            self._invalid(str(error), error)
            return
        self._deliver(messages, len(data))
        if self._paused or (self._accepting and self._outbox.full):
            self._socket.hold()

    def on_end(self) -> None:
        """FrameSink: after the last answer nothing is left; after the last request the queued answers follow."""
        if self._accepting:
            self._closing = True
            self._end_within_timeout()
            self._flush_soon()
        else:
            self._end(None)

    def on_invalid(self, reason: str) -> None:
        """FrameSink: end the connection."""
        self._invalid(reason, None)

    def _invalid(self, reason: str, cause: Exception | None) -> None:
        error = ConnectionLost(f"{self._peer_name} sent an invalid frame: {reason}")
        error.__cause__ = cause
        self._end(error)

    def _wake_reader(self) -> None:
        self._loop.call_soon(self._read_on, context=self._context)

    def _read_on(self) -> None:
        if not self._paused and not (self._accepting and self._outbox.full):
            self._socket.proceed()

    # -- signs of life --

    def _keep_alive_after(self, seconds: float) -> None:
        due = self._loop.time() + seconds
        self._ping_timer = self._loop.call_at(due, self._keep_alive, due, context=self._context)

    def _keep_alive(self, due: float) -> None:
        """Ask for a sign of life when none came for a while, and end when none answers. Show life in any case."""
        socket, options = self._socket, self._options
        now = self._loop.time()
        if socket.held or socket.heard >= self._pinged_at or now - due >= LATE:
            self._pinged_at = math.inf
        if now - self._pinged_at >= options.keepalive_timeout - ROUNDING:
            self._end(ConnectionLost(f"{self._peer_name} gave no sign of life for {now - socket.heard:.1f} s"))
            return
        if socket.is_partial and now - socket.began >= options.frame_timeout and now - due < LATE:
            self._end(
                ConnectionLost(f"{self._peer_name} has not sent the rest of a frame for {now - socket.began:.1f} s")
            )
            return
        left = options.keepalive_time - (0.0 if socket.held else now - socket.heard)
        asks = left <= ROUNDING and self._pinged_at == math.inf
        if asks:
            self._pinged_at = now
        if socket.clear and (asks or not socket.wrote):
            socket.mark(PING if asks else ALIVE)
        socket.wrote = False
        if self._pinged_at < math.inf:
            left = min(options.keepalive_time, self._pinged_at + options.keepalive_timeout - now)
        self._keep_alive_after(left)

    # -- ending --

    async def _drain(self) -> None:
        self._flush_soon()
        await asyncio.shield(self._released)

    def _end_in_order(self) -> None:
        self._end(None)

    def _end_within_timeout(self) -> None:
        if self._end_timer is None:
            self._end_timer = self._loop.call_later(self._options.close_timeout, self._end, None, context=self._context)

    def _on_end(self) -> None:
        for timer in (self._end_timer, self._ping_timer):
            if timer is not None:
                timer.cancel()
        self._socket.abort()

    def on_closed(self, error: ConnectionLost) -> None:
        """FrameSink: the socket is closed: in order, if this is the accepting side and has written its last answer."""
        self._end(None if self._accepting and self._sent_end else error)
        if not self._released.done():
            self._released.set_result(None)
