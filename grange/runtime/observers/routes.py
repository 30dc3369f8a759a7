"""The clients that one silo can call: those connected to its gateway, and the observers in its own process.

The catalog hands every request for an observer to `ClientRoutes.deliver`, from here or from another silo. It goes on
to the client by the connection that the client opened. `directory/client_locator.py` finds the silo of a client.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections import OrderedDict
from functools import partial

from grange.counted import counted
from grange.errors import CallNotExecuted, CallOutcomeUnknown, InvalidCall, PayloadTooLarge
from grange.observability.counters import ObserverFigures
from grange.proto.clients import client_id, client_of
from grange.proto.faults import Faults
from grange.proto.handshake import Role
from grange.proto.ids import SiloAddress
from grange.proto.message import Reason, Rejection, Response
from grange.runtime.calls.link import Link, Pending
from grange.runtime.calls.wire_call import WireCall
from grange.runtime.observers.host import ObserverHost
from grange.runtime.requests.deadlines import Deadlines
from grange.runtime.requests.invocation import Invocation, is_cancelled
from grange.runtime.requests.local_call import LocalCall
from grange.runtime.requests.refusal import Refused
from grange.transport.provider import Connection

MOST_ENDED = 10_000
"""Clients whose end is remembered; the oldest are forgotten first."""

ANSWER_GRACE = 5.0
"""Seconds after the time of a call, or its cancellation, for which a client may still answer; then nothing of the call
is kept."""

RETRY_AFTER = 0.5
"""Seconds after which a call that a full client refused may be repeated."""

Carried = LocalCall | WireCall
"""A request that can go on to another process."""


class ClientState(enum.IntEnum):
    """What one silo knows of a client. The numbers travel between silos."""

    UNKNOWN = 0
    HERE = 1  # it is connected to this silo
    GONE = 2  # it has closed, or lost its connection to this silo and not come back in time


class ClientRoutes:
    """The connections of this silo to clients, by the client's id, and the requests on their way to them.

    own: the observers in this process. `limit`: the most requests to one client without an answer. `return_time`:
    seconds after which a client that lost its connection counts as gone.
    """

    def __init__(
        self,
        here: SiloAddress,
        own: ObserverHost,
        deadlines: Deadlines,
        faults: Faults,
        limit: int,
        return_time: float,
    ) -> None:
        self._here = here
        self.own = own
        self._deadlines = deadlines
        self._faults = faults
        self._limit = limit
        self._return_time = return_time
        self._ids = itertools.count(1)
        self._links: dict[str, list[Link]] = {}
        self._ended: OrderedDict[str, float] = OrderedDict()  # the loop time from which each counts as gone
        self._carried: dict[Invocation, Pending] = {}
        self._draining = False
        self.figures = ObserverFigures()

    # --- connections ----------------------------------------------------------------------------------------------

    def accept(self, connection: Connection) -> Link | None:
        """The link for requests to the peer of a new connection (`deps.AcceptsClients`)."""
        hello = connection.hello
        if hello.role is not Role.CLIENT or not hello.client_key:
            return None
        client = client_id(hello.client_key)
        link = Link(
            self._here, self._deadlines, self._faults, self._ids, _ignore_goodbye, f"client {hello.name!r:.100}"
        )
        link.opened(connection)
        link.on_end = partial(self._on_end, client, link)
        self._links.setdefault(client, []).append(link)
        self._ended.pop(client, None)
        return link

    def drain(self) -> None:
        """Send no more requests to connected clients: they are about to leave this silo."""
        self._draining = True

    @property
    def clients(self) -> int:
        """The number of clients that can be called here."""
        return len(self._links)

    @property
    def in_flight(self) -> int:
        """The requests to clients without an answer."""
        return len(self._carried)

    @property
    def observers(self) -> int:
        """The observers in this process."""
        return len(self.own)

    def state(self, client: str) -> ClientState:
        """What this silo knows of a client."""
        if client == self.own.client or self._link(client) is not None:
            return ClientState.HERE
        gone_at = self._ended.get(client)
        if gone_at is not None and self._deadlines.loop.time() >= gone_at:
            return ClientState.GONE
        return ClientState.UNKNOWN

    def _link(self, client: str) -> Link | None:
        """The newest open connection of a client."""
        if self._draining:
            return None
        return next((link for link in reversed(self._links.get(client, ())) if not link.connection.closed), None)

    def _on_end(self, client: str, link: Link, _silo: SiloAddress, error: Exception | None) -> None:
        links = self._links[client]
        links.remove(link)
        if links:
            return
        del self._links[client]
        # A client that closes in order does not come back; but from a silo that leaves it goes to another one.
        closed = error is None and not self._draining
        self._ended[client] = self._deadlines.loop.time() + (0.0 if closed else self._return_time)
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)

    # --- requests -------------------------------------------------------------------------------------------------

    def deliver(self, call: Invocation) -> None:
        """Hand a request to the client of its observer. An error becomes its outcome."""
        client = client_of(call.grain_id)
        if client == self.own.client:
            self.own.deliver(call)
            return
        link = self._link(client)
        if link is None:
            call.refuse(Refused(Reason.NOT_HERE, f"the client of this observer is not connected to silo {self._here}"))
        elif link.pending >= self._limit or link.connection.full:
            self.figures.overloaded += 1
            text = (
                f"{link.name} has {counted(link.pending, 'call')} to its observers in progress, or does not read them"
            )
            call.refuse(Refused(Reason.OVERLOADED, text, retry_after=RETRY_AFTER))
        else:
            assert isinstance(call, LocalCall | WireCall), "only calls name an observer"
            self._post(call, link)

    def status(self, call: Invocation) -> str:
        """`Holder`: what the client last reported."""
        pending = self._carried.get(call)
        return "status unknown" if pending is None else f"sent to {pending.link.name}: {pending.status}"

    def withdraw(self, call: Invocation, interrupt: bool) -> None:
        """`Holder`: the caller has gone: the client drops the request if it still waits there, or interrupts its turn.

        Its answer is passed on, because a caller that was cancelled may wait for the outcome. That is not for ever: a
        one-way call has no other time.
        """
        if (pending := self._carried.get(call)) is not None:
            pending.link.cancel(pending, interrupt)
            pending.link.shorten(pending, self._deadlines.loop.time() + ANSWER_GRACE)

    def _post(self, call: Carried, link: Link) -> None:
        try:
            request = call.as_request()
            request.chain = b""  # only silos see the turns that wait
            # Its caller withdraws it when its time is over, and says whether to interrupt its turn.
            pending = link.post(request, call.deadline + ANSWER_GRACE)
        except CallNotExecuted as error:
            call.refuse(Refused(_reason(error), str(error)))
            return
        self.figures.calls += 1
        call.holder = self
        self._carried[call] = pending
        pending.answer.add_done_callback(lambda answer: self._on_answer(call, answer))

    def _on_answer(self, call: Carried, answer: asyncio.Future[Response]) -> None:
        del self._carried[call]
        error = answer.exception()
        if error is None:
            self.figures.failed += answer.result().failed
            call.forward(answer.result())
            return
        self.figures.failed += not is_cancelled(error)
        if isinstance(error, Refused):
            call.pass_on(error)
        elif isinstance(error, CallOutcomeUnknown):
            call.fail_unknown(error)
        else:  # SiloUnavailable: the request never left this process
            call.refuse(Refused(Reason.NOT_HERE, str(error)))


def _reason(error: CallNotExecuted) -> Reason:
    """The reason of a request that could not be posted."""
    if isinstance(error, PayloadTooLarge):
        return Reason.PAYLOAD_TOO_LARGE
    return Reason.INVALID_CALL if isinstance(error, InvalidCall) else Reason.NOT_HERE


def _ignore_goodbye(_link: Link, _goodbye: Rejection) -> None:
    """Do nothing: a client that leaves closes its connection."""
