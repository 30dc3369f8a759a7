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
from typing import Any, cast

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from grange.errors import HandshakeRefused
from grange.security.admission import admitted
from grange.security.certificate import Certificate
from grange.silo.access import SiloAccess
from grange.silo.admin_app import CERTIFICATE, admin_app
from grange.silo.admin_handshakes import Handshakes, TlsEntrance
from grange.silo.admin_sockets import Listening
from grange.silo.health import Health
from grange.silo.tls import SiloTls
from grange.transport.tls_contexts import ContextOf, context_for_browsers

log = logging.getLogger("grange.silo")

PAGES = "grange.pages"
"""The entry-point group of pages."""

MAX_CONNECTIONS = 256
"""Connections at a time. A further one ends the oldest that waits for a request, so that probes get through; if all are
in use, it gets 503. Twenty viewers with two connections each need forty."""

MAX_HANDSHAKES = 64
"""Handshakes of TLS at a time: each takes 256 KiB. A further one ends the oldest."""

REQUEST_TIMEOUT = 10.0
"""Seconds for a request to come whole, from the begin of the connection or the end of the response before."""

READ_TIMEOUT = 30.0
"""Seconds for the peer to read, once the buffers are full. A stream that was cut comes back with a full state."""

HEAD_LIMIT = 16 * 1024
"""Largest head of a request, in bytes."""

CLOSE_TIMEOUT = 2
"""Seconds for responses in progress when the silo stops."""


async def serve(
    listening: Sequence[Listening], names: Sequence[str], health: Health, access: Future[SiloAccess], stop: Future[None]
) -> None:
    """Serve until `stop` is done. `access` is done once the silo exists; then the pages are loaded."""
    pages = _Pages()
    async with AsyncExitStack() as lifespans:
        app = admin_app(health, access, pages, names)
        servers = [(HttpServer(HttpConfig(app, each.tls)), each.socket) for each in listening]
        serving = asyncio.gather(*(server.serve([opened]) for server, opened in servers))
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
            for server, _ in servers:
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


class HttpConfig(Config):
    """The settings of uvicorn. It leaves logging alone: that belongs to the process, which may run another uvicorn.

    `tls`: that of the connections; None: they have none. Clients may show a certificate.
    """

    def __init__(self, app: ASGIApp, tls: SiloTls | None = None) -> None:
        self.tls = tls
        self.handshakes: Handshakes | None = None
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

    def load(self) -> None:
        """uvicorn: prepare the settings. The context of TLS is our own, because it follows the pair in use."""
        super().load()
        if self.tls is not None:
            context = ContextOf(self.tls.material, context_for_browsers).live()
            self.handshakes = Handshakes(lambda: context, MAX_HANDSHAKES, REQUEST_TIMEOUT)
            self.http_protocol_class = self._entrance  # type: ignore[assignment]

    def _entrance(self, **arguments: Any) -> TlsEntrance:
        """The protocol of a new connection with TLS."""
        assert self.handshakes is not None
        return TlsEntrance(self.handshakes, lambda: _Protocol(**arguments))

    def configure_logging(self) -> None:
        """uvicorn: it would change the loggers of the whole process."""


class HttpServer(Server):
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn: close the port and its connections; first the handshakes, which it does not know."""
        for server in self.servers:
            server.close()
        handshakes = cast("HttpConfig", self.config).handshakes
        if handshakes is not None:
            await handshakes.end()
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        """uvicorn: renew the Date header each second until `end`."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._ended.wait()


class _Protocol(H11Protocol):
    """One connection: no access log, and a time for all that the peer may delay. A silo needs its file descriptors."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.access_log = False
        self.logger = log  # its warnings come with each bad request of any peer, and this logger is limited
        self._opened = self.loop.time()
        self._until_asked: asyncio.TimerHandle | None = None
        self._until_read: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is open. If there are too many, the oldest that waits for a request ends."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.app_state = {**self.app_state, CERTIFICATE: self._certificate(transport)}
        self._watch()
        assert self.limit_concurrency is not None
        if len(self.connections) >= self.limit_concurrency:
            others = cast("set[_Protocol]", self.connections) - {self}
            waiting = [each for each in others if not each._is_answering]
            if waiting:
                min(waiting, key=lambda each: each._opened)._give_up()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came. A request that is not whole does not renew its time."""
        self._forget_certificate()
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """uvicorn: the response was sent. The time of the next request begins."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """asyncio: the peer does not read what was sent."""
        super().pause_writing()
        self._until_read = self.loop.call_later(READ_TIMEOUT, self._give_up)

    def resume_writing(self) -> None:
        """asyncio: the peer reads again."""
        super().resume_writing()
        if self._until_read is not None:
            self._until_read.cancel()
            self._until_read = None

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection has ended."""
        super().connection_lost(exc)
        for timer in (self._until_asked, self._until_read):
            if timer is not None:
                timer.cancel()

    def _certificate(self, transport: asyncio.BaseTransport) -> Certificate | None:
        """The certificate of the peer; None if it shows none, or one that is not for this cluster."""
        tls = cast("HttpConfig", self.config).tls
        connection = transport.get_extra_info("ssl_object")
        shown = None if connection is None else connection.getpeercert(binary_form=True)
        if tls is None or shown is None:
            return None
        try:
            certificate = tls.transport.certificate_of(shown)
            admitted(certificate, tls.cluster, ("client", "admin", "silo"))
        except HandshakeRefused:
            return None
        return certificate

    def _forget_certificate(self) -> None:
        """Have the next requests without the certificate of the peer, if it is revoked or has expired meanwhile."""
        tls, shown = cast("HttpConfig", self.config).tls, self.app_state.get(CERTIFICATE)
        if tls is not None and shown is not None and not tls.transport.still_admits(shown):
            self.app_state = {**self.app_state, CERTIFICATE: None}

    def _watch(self) -> None:
        """Give the next request its time, unless one is being answered."""
        if self._is_answering or self.transport.is_closing():
            if self._until_asked is not None:
                self._until_asked.cancel()
                self._until_asked = None
        elif self._until_asked is None:
            self._until_asked = self.loop.call_later(REQUEST_TIMEOUT, self._give_up)

    def _give_up(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    @property
    def _is_answering(self) -> bool:
        """Whether a request has come, whole, and its response has not ended."""
        # uvicorn has no cycle until the first request, although its type says so.
        has_cycle = cast("object", self.cycle) is not None
        return has_cycle and not self.cycle.more_body and not self.cycle.response_complete
