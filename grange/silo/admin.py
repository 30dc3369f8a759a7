"""The admin port of a silo: HTTP for supervisors, Prometheus and people, in a thread with its own event loop.

So it answers while a turn blocks the silo's loop. `startup.py` opens it before all else, because `/startupz` answers
while the silo joins; it closes after all other parts. A silo without the option `http` has neither the port nor the
thread, and does not load an HTTP server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from grange.aio.tasks import Tasks
from grange.aio.threads import has_ended
from grange.proto.ids import endpoint_of
from grange.silo.access import SiloAccess
from grange.silo.config import SiloConfig
from grange.silo.crossing import Crossing
from grange.silo.health import Health
from grange.silo.publisher import Publisher
from grange.transport.listening import cannot_listen

log = logging.getLogger("grange.silo")

BACKLOG = 128
"""Connections that the system completes before the thread accepts them."""

STOP_TIMEOUT = 5.0
"""Seconds for the thread to end. Its requests get 2 s; a page that ignores its cancellation must not hold up the stop.
"""


class AdminPort:
    """The admin port of one silo, or none. In order: `open`, `attach`, and the end of the `with`."""

    def __init__(self) -> None:
        self.health = Health()
        self.place = ""
        """Host and port of it; empty: there is none."""
        self._thread: threading.Thread | None = None
        self._access: Future[SiloAccess] = Future()
        self._stop: Future[None] = Future()
        self._crossing: Crossing | None = None
        self._tasks = Tasks()

    async def open(self, config: SiloConfig) -> None:
        """Open the port that the options name, if any. Raises CannotListen if it is in use."""
        if config.http == "off":
            return
        listening = await listen(config.admin_host, config.http)
        self.place = endpoint_of(config.admin_host, listening.getsockname()[1])
        names = ("localhost", config.admin_host, config.public_host, *config.http_hosts)
        self._thread = threading.Thread(target=self._run, args=(listening, names), name="grange-admin", daemon=True)
        self._thread.start()
        log.info(
            "the admin port %s answers probes while the silo starts", self.place, extra={"event": "admin_port_open"}
        )

    @property
    def is_open(self) -> bool:
        """Whether there is a port."""
        return self._thread is not None

    def attach(self, crossing: Crossing, publisher: Publisher, access: SiloAccess) -> None:
        """The silo exists: publish its figures and load the pages."""
        self._crossing = crossing
        self._tasks.start(publisher.run())
        self._access.set_result(access)

    def _run(self, listening: socket.socket, names: tuple[str, ...]) -> None:
        """The thread. The server is loaded here, so that a silo without an admin port does without it."""
        try:
            with listening, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                from grange.silo.admin_server import serve

                runner.run(serve(listening, names, self.health, self._access, self._stop))
        except Exception:
            log.exception("the admin port of this silo has ended", extra={"event": "admin_port_failed"})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        self._stop.set_result(None)
        try:
            # Meanwhile the loop runs: a page may await an answer of this silo.
            if not await has_ended(self._thread, STOP_TIMEOUT):
                log.error(
                    "the admin port did not close within %g s; the stop continues without it",
                    STOP_TIMEOUT, extra={"event": "part_would_not_end"},
                )  # fmt: skip
        finally:
            await self._tasks.close()
            if self._crossing is not None:
                await self._crossing.close()


async def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket. Raises CannotListen."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        opened = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise cannot_listen(host, port) from None
    try:
        if os.name == "posix":  # a port whose last connections time out may be opened
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise cannot_listen(host, port) from None
    return opened
