"""The admin port of a silo: HTTP for supervisors, Prometheus and people, in a thread with its own event loop.

So it answers while a turn blocks the silo's loop. `startup.py` opens it before all else, because `/startupz` answers
while the silo joins; it closes after all other parts. A silo without the option `http` has neither the port nor the
thread, and does not load an HTTP server.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from grange.aio.tasks import Tasks
from grange.aio.threads import has_ended
from grange.proto.ids import endpoint_of
from grange.silo.access import SiloAccess
from grange.silo.admin_sockets import Listening, open_sockets
from grange.silo.config import SiloConfig
from grange.silo.crossing import Crossing
from grange.silo.health import Health
from grange.silo.publisher import Publisher
from grange.silo.tls import SiloTls

log = logging.getLogger("grange.silo")

STOP_TIMEOUT = 5.0
"""Seconds for the thread to end. Its requests get 2 s; a page that ignores its cancellation must not hold up the stop.
"""


class AdminPort:
    """The admin port of one silo, or none. In order: `open`, `attach`, and the end of the `with`."""

    def __init__(self) -> None:
        self.health = Health()
        self.place = ""
        """Host and port of it; empty: there is none."""
        self.tls_place = ""
        """Host and port of the further one, which uses TLS; empty: there is none."""
        self._thread: threading.Thread | None = None
        self._access: Future[SiloAccess] = Future()
        self._stop: Future[None] = Future()
        self._crossing: Crossing | None = None
        self._tasks = Tasks()

    async def open(self, config: SiloConfig, tls: SiloTls | None = None) -> None:
        """Open the port that the options name, if any, and that with TLS beside it. Raises CannotListen."""
        if config.http == "off":
            return
        listening = await open_sockets(config, tls)
        self.place = endpoint_of(config.admin_host, listening[0].port)
        self.tls_place = endpoint_of(config.admin_host, listening[1].port) if len(listening) > 1 else ""
        names = ["localhost", config.admin_host, config.public_host, *config.http_hosts]
        if tls is not None:
            names.append(tls.transport.name)
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

    def _run(self, listening: Sequence[Listening], names: Sequence[str]) -> None:
        """The thread. The server is loaded here, so that a silo without an admin port does without it."""
        try:
            with ExitStack() as sockets, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                for each in listening:
                    sockets.enter_context(each.socket)
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
