"""Server-sent events: one stream for each visible page. A viewer that reads too slowly loses ticks, never the truth.

A stream is compressed as a whole, if the browser takes that: one tick is much like the one before it. Viewers of the
same page share a channel, so that a tick is rendered once. `id` is `<epoch>-<number of the tick>`; a browser that comes
back within the last 120 ticks gets those that it missed, any other a full `hello`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any, Final, Generic, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

V = TypeVar("V")

KEPT = 120
"""Ticks of a channel that are kept for a browser that comes back."""

QUEUE = 16
"""Messages that wait for one viewer; when there are more, all are dropped and it gets a new `hello`."""

SILENCE = 15.0
"""Seconds without a message after which a comment shows that the stream lives."""

MOST_VIEWERS = 200
"""Streams at the same time."""

MOST_CHANNELS = 32
"""Channels kept; those without viewers go first."""

GZIP_WINDOW = 13
"""Bits of the window of a compressed stream: 8 KiB hold the tick before, and 200 streams take few megabytes."""

_BYE: Final = b"event: bye\ndata: {}\n\n"


class TooManyViewers(Exception):
    """All streams are in use."""


class Viewer:
    """The stream of one page."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        self.is_behind = False

    def put(self, message: bytes) -> None:
        """Queue a message; drop all of them if there are too many."""
        if self.is_behind:
            return
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.is_behind = True
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(b"")  # wakes the stream

    def take_lag(self) -> bool:
        """Whether messages were dropped since the last call."""
        was, self.is_behind = self.is_behind, False
        return was


class Channel:
    """The ticks of one page, for all its viewers."""

    def __init__(self, view: str) -> None:
        self.view = view
        self.viewers: set[Viewer] = set()
        self.ticks: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self.idle = 0  # ticks without a viewer

    def since(self, number: int) -> list[bytes] | None:
        """The ticks after this one; None if some of them are no longer kept."""
        if not self.ticks or not self.ticks[0][0] <= number + 1 <= self.ticks[-1][0] + 1:
            return None
        return [tick for each, tick in self.ticks if each > number]


class EventStream(StreamingResponse, Generic[V]):
    """The response to one viewer, which is one of the `viewers` while the response runs."""

    def __init__(self, request: Request, viewer: V, viewers: set[V], messages: AsyncGenerator[bytes]) -> None:
        if "gzip" in request.headers.get("accept-encoding", ""):
            super().__init__(_gzipped(messages), media_type="text/event-stream", headers={"content-encoding": "gzip"})
        else:
            super().__init__(messages, media_type="text/event-stream")
        self.headers.append("vary", "accept-encoding")
        self._viewer = viewer
        self._viewers = viewers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: send until the browser goes or the stream ends."""
        self._viewers.add(self._viewer)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._viewers.discard(self._viewer)


class Live:
    """All streams. `hello` and `tick` render the full state and one tick of a view; `epoch` names this collector."""

    def __init__(self, epoch: str, hello: Callable[[str], Any], tick: Callable[[str], Any]) -> None:
        self._epoch = epoch
        self._hello = hello
        self._tick = tick
        self._number = 0
        self._channels: dict[str, Channel] = {}
        self.closed = asyncio.Event()
        self._opened = asyncio.Event()

    @property
    def is_watched(self) -> bool:
        """Whether a page is open, or may come back and ask for the ticks that it missed."""
        return bool(self._channels)

    @property
    def viewers(self) -> int:
        """The number of open streams."""
        return sum(len(channel.viewers) for channel in self._channels.values())

    async def wait_for_viewer(self, until: float) -> None:
        """Wait until a page opens its stream, but not beyond this loop time."""
        self._opened.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._opened.wait()

    async def wait_closed(self, seconds: float) -> None:
        """Wait until the streams must end, at most `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closed.wait()

    def publish_tick(self) -> None:
        """Send a tick to every viewer. The collector calls it once a second."""
        self._number += 1
        for view, channel in list(self._channels.items()):
            channel.idle = 0 if channel.viewers else channel.idle + 1
            if channel.idle > KEPT:
                del self._channels[view]
                continue
            text = self._message("tick", self._tick(view))
            channel.ticks.append((self._number, text))
            for viewer in channel.viewers:
                viewer.put(text)

    def publish_event(self, event: Any) -> None:
        """Send one event of the cluster to every viewer."""
        text = b"event: event\ndata: " + msgspec.json.encode(event) + b"\n\n"
        for channel in self._channels.values():
            for viewer in channel.viewers:
                viewer.put(text)

    def close(self) -> None:
        """Say `bye` on every stream, and end it."""
        self.closed.set()
        for channel in self._channels.values():
            for viewer in channel.viewers:
                viewer.put(_BYE)

    def open(self, request: Request, view: str, holds: Callable[[], bool], last_id: str = "") -> EventStream[Viewer]:
        """The stream of one page, as long as its session `holds`. Raises TooManyViewers."""
        if self.viewers >= MOST_VIEWERS or self.closed.is_set():
            raise TooManyViewers
        self._forget_channels()
        channel = self._channels.setdefault(view, Channel(view))
        epoch, _, number = last_id.rpartition("-")
        missed = channel.since(int(number)) if epoch == self._epoch and number.isdecimal() else None
        viewer = Viewer(channel)
        first = [self._message("hello", self._hello(view))] if missed is None else missed
        self._opened.set()
        return EventStream(request, viewer, channel.viewers, self._stream(viewer, holds, first))

    async def _stream(self, viewer: Viewer, holds: Callable[[], bool], first: list[bytes]) -> AsyncGenerator[bytes]:
        yield b"retry: 1000\n\n" + b"".join(first)
        while not self.closed.is_set() and holds():
            message = await _next(viewer)
            if viewer.take_lag():
                message = b"event: resync\ndata: {}\n\n" + self._message("hello", self._hello(viewer.channel.view))
            if not self.closed.is_set() and holds():
                yield message
        yield _BYE

    def _message(self, event: str, value: Any) -> bytes:
        head = f"id: {self._epoch}-{self._number}\nevent: {event}\ndata: ".encode()
        return head + msgspec.json.encode(value) + b"\n\n"

    def _forget_channels(self) -> None:
        """Make room for one more channel, at the cost of those without viewers."""
        for view in [view for view, channel in self._channels.items() if not channel.viewers]:
            if len(self._channels) < MOST_CHANNELS:
                return
            del self._channels[view]


async def _gzipped(messages: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The messages as one compressed stream, in which each message can be read as soon as it comes."""
    packer = zlib.compressobj(wbits=GZIP_WINDOW + 16, memLevel=6)
    async with aclosing(messages):
        async for message in messages:
            yield packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


async def _next(viewer: Viewer) -> bytes:
    try:
        async with asyncio.timeout(SILENCE):
            return await viewer.queue.get()
    except TimeoutError:
        return b":\n\n"
