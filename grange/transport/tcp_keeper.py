"""The open sockets of one transport, and the thread that shows life on them while a turn blocks the event loop.

A process whose loop is blocked is alive, one that is suspended is not: only the first can run a thread.
"""

from __future__ import annotations

import asyncio
import threading
import time

from grange.transport.tcp_socket import FrameSocket


class Keeper:
    """Knows the open sockets. The thread runs from the first socket to `close`.

    `period` is the number of seconds between two signs of life. The loop counts as blocked after two periods.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._sockets: dict[FrameSocket, None] = {}
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._ticked = 0.0
        self._tick_timer: asyncio.TimerHandle | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, socket: FrameSocket) -> None:
        """A socket is open."""
        self._sockets[socket] = None
        self._none_open.clear()
        if self._thread is None and not self._ended.is_set():
            self._tick()
            self._thread = threading.Thread(target=self._run, name="grange-keepalive", daemon=True)
            self._thread.start()

    def discard(self, socket: FrameSocket) -> None:
        """A socket is closed."""
        self._sockets.pop(socket, None)
        if not self._sockets:
            self._none_open.set()

    async def close(self) -> None:
        """Close what is open still, and end the thread."""
        for socket in list(self._sockets):
            socket.abort()
        await self._none_open.wait()
        self._ended.set()
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        if self._thread is not None:
            self._thread.join()

    def _tick(self) -> None:
        self._ticked = time.monotonic()
        self._tick_timer = asyncio.get_running_loop().call_later(self._period, self._tick)

    def _run(self) -> None:
        while not self._ended.wait(self._period):
            if time.monotonic() - self._ticked >= 2 * self._period:
                for socket in list(
                    self._sockets
                ):  # one step for the interpreter, so the loop cannot change it meanwhile
                    socket.show_life()
