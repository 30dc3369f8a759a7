"""Sends requests to known silos and waits for their answers. It uses no directory; system services call it directly.

An answer comes back on the connection that carried its request. If that connection breaks, all its pending calls fail
at once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from grange.aio.portions import in_portions
from grange.errors import CallTimeout, ConnectionLost, RemoteError, SiloStopped, SiloUnavailable
from grange.proto.faults import Faults, type_name
from grange.proto.ids import SiloAddress
from grange.proto.message import GOODBYE, Cancel, Message, Reason, Rejection, Request, Response, Status
from grange.runtime.requests.deadlines import Deadlines, until
from grange.runtime.requests.refusal import Refused
from grange.runtime.system_target import system_id
from grange.transport.provider import Connection

log = logging.getLogger("grange.runtime")


def _nothing() -> None:
    """Do nothing: the default of `posted`."""


def _ignore(_silo: SiloAddress, _error: Exception | None) -> None:
    """Do nothing: the default of `Link.on_end`."""


class PeerConnections(Protocol):
    """One connection per peer; `transport/peers.py` implements it."""

    def current(self, address: SiloAddress) -> Connection | None:
        """The open connection to this silo, or None."""
        ...

    async def get(self, address: SiloAddress) -> Connection:
        """Return the open connection, or open one. Raises SiloUnavailable or HandshakeRefused."""
        ...

    def drain(self, address: SiloAddress, answered: asyncio.Event) -> None:
        """Send nothing more on the connection to a leaving peer, and close it once `answered` is set."""
        ...


class Pending:
    """One request that waits for its answer."""

    __slots__ = ("answer", "link", "request", "status", "status_at", "step")

    def __init__(self, link: Link, request: Request, answer: asyncio.Future[Response]) -> None:
        self.link = link
        self.request = request
        self.answer = answer
        self.status = "status unknown"
        self.status_at = 0.0
        self.step = 0

    def on_status(self, status: str) -> None:
        """Keep the status that the callee reports."""
        self.status, self.status_at = status, asyncio.get_running_loop().time()

    def expire(self) -> None:
        """Fail with CallTimeout, and have the callee drop the request if it still waits there."""
        request = self.request
        self.link.cancel(request.id)
        status = self.status
        if self.status_at:
            age = asyncio.get_running_loop().time() - self.status_at
            status = f"{status}, as silo {self.link.silo} reported {age:.1f} s before"
        self.fail(CallTimeout(f"call to {request.grain_id}.{request.method} timed out: {status}"))

    def fail(self, error: Exception) -> None:
        """Fail the call with this error, unless it has ended."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Link:
    """The receiver of one outgoing connection, with its pending calls.

    Calls `on_leaving` when the silo sends its goodbye, and `on_end` when the connection ends.
    """

    def __init__(
        self, silo: SiloAddress, faults: Faults, on_leaving: Callable[[SiloAddress, asyncio.Event], None]
    ) -> None:
        self.silo = silo
        self._on_leaving = on_leaving
        self._answered: asyncio.Event | None = None
        self._faults = faults
        self._pending: dict[int, Pending] = {}
        self.connection: Connection | None = None
        self.on_end: Callable[[SiloAddress, Exception | None], None] = _ignore

    def add(self, pending: Pending) -> None:
        """Add a request that waits for its answer."""
        self._pending[pending.request.id] = pending

    def remove(self, request_id: int) -> None:
        """Remove a request, answered or not."""
        self._pending.pop(request_id, None)
        if self._answered is not None and not self._pending:
            self._answered.set()

    def cancel(self, request_id: int) -> None:
        """Remove a request that is still pending, and send a Cancel for it."""
        if self._pending.pop(request_id, None) is not None and self.connection and not self.connection.closed:
            self.connection.post(Cancel(request_id))

    def receive(self, message: Message) -> None:
        """transport.Receiver: take an answer, a rejection or a status."""
        if isinstance(message, Response):
            pending = self._pending.pop(message.id, None)
            if pending is not None and not pending.answer.done():
                pending.answer.set_result(message)
        elif isinstance(message, Rejection) and message.id == GOODBYE.id:
            self._on_goodbye()
        elif isinstance(message, Rejection):
            pending = self._pending.pop(message.id, None)
            if pending is not None:
                pending.fail(self._refused(message))
        elif isinstance(message, Status) and message.id in self._pending:
            self._pending[message.id].on_status(message.text)

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        """transport.Receiver: fail all pending calls. Those in `unsent` were certainly not executed.

        The outcome of the others is unknown. Calls `on_end` first, so that a call that is repeated at once avoids this
        silo.
        """
        self.on_end(self.silo, error)
        if self._answered is not None:
            self._answered.set()
        unsent_ids = {message.id for message in unsent if isinstance(message, Request)}
        pending, self._pending = self._pending, {}

        def fail(entry: Pending) -> None:
            if entry.request.id in unsent_ids:
                entry.fail(SiloUnavailable(f"the connection to {self.silo} broke before the request left"))
            else:
                entry.fail(ConnectionLost(f"the connection to {self.silo} broke after the request had left: {error}"))

        in_portions(pending.values(), fail)

    def abandon(self, reason: str) -> None:
        """Fail all pending calls with ConnectionLost: this process closes and does not wait for their answers."""
        pending, self._pending = self._pending, {}

        def fail(entry: Pending) -> None:
            entry.fail(ConnectionLost(f"call to {entry.request.grain_id}.{entry.request.method}: {reason}"))

        in_portions(pending.values(), fail)

    def _on_goodbye(self) -> None:
        if self._answered is None:
            self._answered = asyncio.Event()
            if not self._pending:
                self._answered.set()
            self._on_leaving(self.silo, self._answered)

    def _refused(self, message: Rejection) -> Exception:
        cause = self._faults.read(message.fault) if message.fault else None
        if message.reason is Reason.LOST:
            stopped = isinstance(cause, RemoteError) and cause.type_name == type_name(SiloStopped)
            return SiloStopped(message.message) if stopped else ConnectionLost(message.message)
        return Refused(message.reason, message.message, message.hint, message.retry_after_ms / 1000, cause)


class Sender:
    """Sends requests to known silos. One per silo or client."""

    _peers: PeerConnections

    def __init__(self, deadlines: Deadlines, faults: Faults) -> None:
        self._deadlines = deadlines
        self._faults = faults
        self._links: dict[SiloAddress, Link] = {}
        self._ids = itertools.count(1)

    def connect_through(self, peers: PeerConnections) -> None:
        """Set the connections to use. Called once at start-up, because the peers need `receiver_for` of this object."""
        self._peers = peers

    def receiver_for(self, silo: SiloAddress) -> Link:
        """Make the receiver of a new connection to this silo. The peers call it before they connect."""
        link = self._links[silo] = Link(silo, self._faults, self._peers.drain)
        return link

    def drop_link(self, silo: SiloAddress) -> None:
        """Drop the link to a dead silo."""
        self._links.pop(silo, None)

    def abandon(self, reason: str) -> None:
        """Fail all pending calls, with outcome unknown, because this client closes."""
        for link in self._links.values():
            link.abandon(reason)

    async def send(
        self, silo: SiloAddress, request: Request, deadline: float, posted: Callable[[], None] = _nothing
    ) -> Response:
        """Send a request and wait for its answer until `deadline` (loop time). Sets `request.id`.

        Calls `posted` once the request is in the stream's queue.

        Raises Refused or SiloUnavailable (certainly not executed), ConnectionLost or CallTimeout (outcome unknown).
        """
        connection = self._peers.current(silo)
        if connection is None or connection.full:
            connection = await self._writable(silo, deadline)
        link = self._links.get(silo)
        if link is None:  # the silo was declared dead during the wait for the connection
            raise SiloUnavailable(f"silo {silo} is dead")
        link.connection = connection
        request.id = next(self._ids)
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        pending = Pending(link, request, answer)
        link.add(pending)
        try:
            connection.post(request)
            posted()
            pending.step = self._deadlines.add(pending, deadline)
            return await answer
        except asyncio.CancelledError:
            link.cancel(request.id)
            raise
        finally:
            link.remove(request.id)
            self._deadlines.discard(pending, pending.step)

    async def ask(self, silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
        """Ask a service of a silo (`system_target.Ask`)."""
        deadline = asyncio.get_running_loop().time() + timeout
        request = Request(0, system_id(service), "ask", question, timeout_ms=max(1, int(timeout * 1000)))
        try:
            response = await self.send(silo, request, deadline)
        except Refused as refused:
            raise refused.error(request.grain_id) from None
        if response.failed:
            raise self._faults.read(response.payload)
        return response.payload

    async def _writable(self, silo: SiloAddress, deadline: float) -> Connection:
        """Wait for a connection with room in its queue. Raises SiloUnavailable if there is none by `deadline`."""
        try:
            async with until(deadline):
                connection = self._peers.current(silo) or await self._peers.get(silo)
                if connection.full:
                    await connection.ready()
                return connection
        except TimeoutError:
            raise SiloUnavailable(f"no connection to {silo} took the request in time") from None
