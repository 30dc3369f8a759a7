"""The HTTP server in the admin thread: uvicorn, with limits for callers that are not known, and the pages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from grange.silo.access import SiloAccess
from grange.silo.admin_app import admin_app
from grange.silo.health import Health

log = logging.getLogger("grange.silo")

PAGES = "grange.pages"
"""The entry-point group of pages."""

MAX_CONNECTIONS = 256
"""Connections at a time; further requests get 503. Twenty viewers with two connections each need forty."""

HEAD_TIMEOUT = 10.0
"""Seconds for the head of the first request: a connection that sends none must not keep its place."""

HEAD_LIMIT = 16 * 1024
"""Largest head of a request, in bytes."""

CLOSE_TIMEOUT = 2
"""Seconds for responses in progress when the silo stops."""


async def serve(
    listening: socket.socket, names: Sequence[str], health: Health, access: Future[SiloAccess], stop: Future[None]
) -> None:
    """Serve until `stop` is done. `access` is done once the silo exists; then the pages are loaded."""
    pages = _Pages()
    async with AsyncExitStack() as lifespans:
        server = _Server(_Config(admin_app(health, access, pages, names)))
        serving = asyncio.create_task(server.serve([listening]))
        ended = asyncio.ensure_future(asyncio.wrap_future(stop))
        known = asyncio.ensure_future(asyncio.wrap_future(access))
        try:
            await asyncio.wait((serving, ended, known), return_when=asyncio.FIRST_COMPLETED)
            if known.done() and not ended.done():
                await pages.load(known.result(), lifespans)
            await asyncio.wait((serving, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            known.cancel()
            await lifespans.aclose()  # pages end their streams, so that the connections can close
            server.end()
            await serving


class _Pages:
    """The applications of the entry points, once the silo exists; before, every page says that it starts."""

    def __init__(self) -> None:
        self._app: ASGIApp = PlainTextResponse("the silo starts\n", 503)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: the page at this path."""
        await self._app(scope, receive, send)

    async def load(self, access: SiloAccess, lifespans: AsyncExitStack) -> None:
        """Load and start every page. One that fails is logged, and its path says so; the others are served."""
        found = sorted(entry_points(group=PAGES), key=lambda each: (each.name == "dashboard", each.name))
        mounts = [Mount(path_of(each), await self._load_one(each, access, lifespans)) for each in found]
        self._app = Starlette(routes=mounts)

    async def _load_one(self, entry: EntryPoint, access: SiloAccess, lifespans: AsyncExitStack) -> ASGIApp:
        try:
            app: Starlette = entry.load()(access)
            await lifespans.enter_async_context(app.router.lifespan_context(app))
        except Exception:
            log.exception("the page %s cannot be served", entry.name, extra={"event": "page_failed"})
            return PlainTextResponse(
                f"the page {entry.name} could not start; the log of the silo has the reason\n", 503
            )
        return app


def path_of(entry: EntryPoint) -> str:
    """The path at which a page is mounted."""
    return "/" if entry.name == "dashboard" else f"/{entry.name}"


class _Config(Config):
    """The settings of uvicorn. It leaves logging alone: that belongs to the process, which may run another uvicorn."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=HEAD_LIMIT,
            timeout_graceful_shutdown=CLOSE_TIMEOUT,
        )

    def configure_logging(self) -> None:
        """uvicorn: it would change the loggers of the whole process."""


class _Server(Server):
    """A server that another thread ends, and that leaves signals to the process."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """End `serve`."""
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """uvicorn: no signal is captured."""
        yield

    async def main_loop(self) -> None:
        """uvicorn: renew the Date header each second until `end`."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._ended.wait()


class _Protocol(H11Protocol):
    """One connection: no access log, and a time-out for the first request."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.access_log = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is open."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.timeout_keep_alive_task = self.loop.call_later(HEAD_TIMEOUT, self._close_unless_asked)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came. A head that is not complete does not renew its time."""
        pending = self.timeout_keep_alive_task
        self.timeout_keep_alive_task = None
        super().data_received(data)
        if pending is not None:
            if self.cycle is None and not self.transport.is_closing():
                self.timeout_keep_alive_task = pending
            else:
                pending.cancel()

    def _close_unless_asked(self) -> None:
        if self.cycle is None:
            self.transport.close()
