"""Sends requests to known silos and waits for their answers. It uses no directory; system services call it directly.

`link.py` has the requests of one connection that wait for their answers.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterator
from itertools import chain
from typing import Any, Protocol

from grange.errors import CallCancelled, SiloUnavailable
from grange.grains.decorators import NO_OPTIONS, MethodOptions
from grange.proto.faults import Faults
from grange.proto.ids import SiloAddress
from grange.proto.message import Reason, Rejection, Request, Response, is_renewal
from grange.runtime.calls.link import Link, Pending
from grange.runtime.requests.deadlines import Deadlines, until
from grange.runtime.requests.refusal import Refused
from grange.runtime.system_target import system_id
from grange.transport.provider import Connection


def _nothing(_: Pending) -> None:
    """Do nothing: the default of `posted`."""


def _ignore(_: SiloAddress) -> None:
    """Do nothing: the default of `Sender.on_lost`."""


class PeerConnections(Protocol):
    """One connection per peer; `transport/peers.py` implements it."""

    def current(self, address: SiloAddress) -> Connection | None:
        """The open connection to this silo, or None."""
        ...

    async def get(self, address: SiloAddress) -> Connection:
        """Return the open connection, or open one. Raises SiloUnavailable or HandshakeRefused."""
        ...

    def drain(self, address: SiloAddress, connection: Connection) -> None:
        """Use this connection to a leaving peer no more, and close it when its receiver is answered."""
        ...

    def renew(self, address: SiloAddress, connection: Connection) -> None:
        """Open another connection in place of this one, which is used until then."""
        ...


class Sender:
    """Sends requests to known silos. One per silo or client."""

    _peers: PeerConnections

    def __init__(self, deadlines: Deadlines, faults: Faults) -> None:
        self._deadlines = deadlines
        self._faults = faults
        self._links: dict[SiloAddress, Link] = {}
        self._replaced: list[Link] = []  # links whose calls are not all answered yet
        self._ids = itertools.count(1)
        self.on_lost: Callable[[SiloAddress], None] = _ignore
        """Called when a connection to this silo broke."""

    def connect_through(self, peers: PeerConnections) -> None:
        """Set the connections to use. Called once at start-up, because the peers need `receiver_for` of this object."""
        self._peers = peers

    def receiver_for(self, silo: SiloAddress) -> Link:
        """Make the receiver of a new connection to this silo. The peers call it before they connect."""
        link = Link(silo, self._deadlines, self._faults, self._ids, self._on_goodbye)
        link.on_open = self._on_open
        link.on_end = self._on_end
        return link

    def link(self, silo: SiloAddress) -> Link | None:
        """The link to this silo if requests can be posted to it now, else None."""
        connection = self._peers.current(silo)
        link = self._links.get(silo)
        if connection is None or link is None:  # None: the silo was declared dead
            return None
        link.open = True
        return link

    def pending(self, answers: Collection[asyncio.Future[Any]]) -> Iterator[Pending]:
        """The requests whose answers, which have not come yet, are among these futures."""
        left = set(answers)
        for pending in chain.from_iterable(link.waiting() for link in self._all_links()) if left else ():
            if pending.answer in left:
                left.discard(pending.answer)
                yield pending
                if not left:
                    return

    def drop_link(self, silo: SiloAddress) -> None:
        """Drop the link to a dead silo."""
        self._links.pop(silo, None)

    def abandon(self, reason: str) -> None:
        """Fail all pending calls, with outcome unknown, because this client closes."""
        for link in self._all_links():
            link.abandon(reason)

    def _all_links(self) -> list[Link]:
        return [*self._links.values(), *self._replaced]

    def _on_open(self, link: Link) -> None:
        """Requests to its silo go by this link from now on."""
        before = self._links.get(link.silo)
        self._links[link.silo] = link
        replaced = self._replaced if before is None else [*self._replaced, before]
        self._replaced = [each for each in replaced if not each.ended]

    def _on_end(self, silo: SiloAddress, error: Exception | None) -> None:
        if error is not None:
            self.on_lost(silo)

    def _on_goodbye(self, link: Link, goodbye: Rejection) -> None:
        if is_renewal(goodbye):
            self._peers.renew(link.silo, link.connection)
        else:
            link.open = False
            self._peers.drain(link.silo, link.connection)

    async def send(
        self,
        silo: SiloAddress,
        request: Request,
        deadline: float,
        posted: Callable[[Pending], None] = _nothing,
        options: MethodOptions = NO_OPTIONS,
    ) -> Response:
        """Send a request and wait for its answer until `deadline` (loop time). Sets `request.id`.

        Calls `posted` once the request is in the stream's queue. The options say what a cancellation does.

        Raises Refused or SiloUnavailable (certainly not executed), ConnectionLost or CallTimeout (outcome unknown).
        """
        link = self.link(silo)
        if link is None or not link.has_room():
            link = await self._writable(silo, deadline)
        pending = link.post(request, deadline)
        pending.cancels = options.cancels
        posted(pending)
        try:
            return await pending.answer
        except asyncio.CancelledError as error:
            if not options.awaits_end:
                link.withdraw(pending, interrupt=True)
                raise
            return await self._settle(link, pending, error, options.end_timeout)
        finally:
            del pending  # else an error, its future and this frame form a cycle

    async def _settle(
        self, link: Link, pending: Pending, error: asyncio.CancelledError, seconds: float | None
    ) -> Response:
        """Wait so long for the outcome of a call that was cancelled. Raises `error` unless the method completed."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                response = await link.settle(pending)
        except TimeoutError:
            if limit.expired():
                raise error from None
            raise
        except Refused as refused:
            if refused.reason is Reason.CANCELLED:
                raise error from None
            raise
        if response.failed and isinstance(self._faults.read(response.payload), CallCancelled):
            raise error
        return response

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

    async def _writable(self, silo: SiloAddress, deadline: float) -> Link:
        """Wait for a connection with room in its queue. Raises SiloUnavailable if there is none by `deadline`."""
        try:
            async with until(deadline):
                connection = self._peers.current(silo) or await self._peers.get(silo)
                while connection.full:
                    connection = await self._with_room(silo, connection)
        except TimeoutError:
            raise SiloUnavailable(f"no connection to {silo} took the request in time") from None
        link = self.link(silo)
        if link is None:  # the connection ended, or the silo was declared dead, during the wait
            raise SiloUnavailable(f"the connection to {silo} ended before the request left")
        return link

    async def _with_room(self, silo: SiloAddress, connection: Connection) -> Connection:
        """Wait for room in the queue of this connection, or take the one that has replaced it meanwhile."""
        try:
            await connection.ready()
        except SiloUnavailable:
            if self._peers.current(silo) is None:
                raise
        return self._peers.current(silo) or connection
