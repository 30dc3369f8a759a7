"""The client's end of one connection: takes the requests of the silo for its observers, and answers them.

It is to the client what `calls/incoming.py` is to a silo (`wire_call.Origin`). The opening side must always read, so a
client that has too much to do refuses requests; it never lets them wait on the connection.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

import msgspec

from grange.aio.portions import in_portions
from grange.errors import PayloadTooLarge, SiloUnavailable
from grange.observability.spans import Spans
from grange.observability.trace import shortened
from grange.proto.clients import CLIENT_TYPE
from grange.proto.faults import Faults
from grange.proto.message import Cancel, Reason, Rejection, Request, Response
from grange.runtime.calls.admission import LARGE, REQUEST_OVERHEAD, Admission, Share, Weighed, decoded_size
from grange.runtime.calls.link import Link
from grange.runtime.calls.oversized_answers import replaced
from grange.runtime.calls.wire_call import WireCall, read_context, wire_call
from grange.runtime.requests.invocation import Invocation

BUSY = 0.5
"""Seconds after which a request that a busy client refused may be repeated."""


class ClientEndDeps(msgspec.Struct, frozen=True, eq=False):
    """The parts that all connections of one client share. `deliver` hands a request to its observer."""

    deliver: Callable[[Invocation], None]
    faults: Faults
    admission: Admission
    spans: Spans | None


class ClientEnd:
    """The requests of one silo to this client (`link.Served`, `wire_call.Origin`)."""

    full = False  # a client never lets requests wait for answers to be read: it refuses them

    def __init__(self, link: Link, deps: ClientEndDeps) -> None:
        self._link = link
        self._deps = deps
        self._calls: dict[int, WireCall] = {}
        self.admission = deps.admission
        self.share = Share(deps.admission)
        self.held: OrderedDict[int, Weighed] = OrderedDict()
        self.spans = deps.spans
        self.payload_limit = deps.admission.options.payload_limit
        self.peer = self.caller = link.name

    @property
    def busy(self) -> bool:
        """Whether a request has no answer yet."""
        return bool(self._calls)

    def receive(self, message: Request | Cancel) -> None:
        """Take a request, or the news that its caller has gone. Errors go to the caller."""
        if isinstance(message, Request):
            self._request(message)
        elif (call := self._calls.get(message.id)) is not None:
            call.abandon(message.interrupt)

    def lost(self) -> None:
        """The connection ended: drop the requests that have not started. Turns that run complete."""
        calls, self._calls = self._calls, {}
        in_portions(calls.values(), WireCall.abandon)

    def answer(self, message: Response | Rejection) -> None:
        """Send an outcome, if the connection is open."""
        self._calls.pop(message.id, None)
        connection = self._link.connection
        with suppress(SiloUnavailable):
            try:
                connection.post(message)
            except PayloadTooLarge as error:
                with suppress(PayloadTooLarge):  # a silo with so low a limit gets no answer, and its call times out
                    connection.post(replaced(message, error, self.fault))
        self._link.check_answered()

    def fault(self, error: BaseException) -> bytes:
        """The bytes of an error for the wire."""
        return self._deps.faults.encode(error)

    def hold_back(self, call: WireCall) -> bool:
        """`Origin`: False."""
        return False

    def release(self) -> None:
        """`Origin`: do nothing, because nothing is held."""

    def _request(self, request: Request) -> None:
        refused = self._refusal(request)
        if refused is not None:
            self.answer(refused)
            return
        size = len(request.args) + len(request.context) + REQUEST_OVERHEAD
        if (busy := self.share.take(size)) is not None:
            self.answer(Rejection(request.id, Reason.OVERLOADED, busy, retry_after_ms=int(BUSY * 1000)))
            return
        try:
            context = read_context(request.context)
        except (ValueError, RecursionError) as error:
            self.share.give_back(size)
            self.answer(Rejection(request.id, Reason.INVALID_CALL, f"its request context is malformed: {error}"))
            return
        now = asyncio.get_running_loop().time()
        deadline = now + request.timeout_ms / 1000 if request.timeout_ms else math.inf
        request.traceparent = shortened(request.traceparent)
        weighed = Weighed(request, deadline, size, 0, 0)
        call = self._calls[request.id] = wire_call(self, request, deadline, size, context, weighed)
        self._deps.deliver(call)

    def _refusal(self, request: Request) -> Rejection | None:
        """The refusal of a request that must not reach an observer."""
        if request.id in self._calls:
            return Rejection(request.id, Reason.INVALID_CALL, f"two requests have the id {request.id}")
        if request.grain_id.type != CLIENT_TYPE:
            return Rejection(request.id, Reason.NO_SUCH_GRAIN, "this is a client, which has no grains")
        if self._link.connection.full:
            return Rejection(request.id, Reason.OVERLOADED, "answers of this client are unread", retry_after_ms=500)
        if len(request.args) >= LARGE and (size := decoded_size(request)) > self.admission.most_decoded:
            return Rejection(
                request.id, Reason.PAYLOAD_TOO_LARGE, f"decoded, its arguments would take about {size:,} bytes"
            )
        return None
