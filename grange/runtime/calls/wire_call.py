"""One request from another process, as the catalog and the gateway of this silo see it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

import msgspec

from grange.errors import CallOutcomeUnknown
from grange.grains.context import Scalar
from grange.grains.items import CALLER_KEY
from grange.observability.spans import Spans
from grange.observability.trace import clean
from grange.proto.message import Reason, Rejection, Request, Response
from grange.runtime.calls.admission import LARGE, Admission, Share, Weighed
from grange.runtime.calls.link import Pending
from grange.runtime.requests.deadlines import milliseconds_until
from grange.runtime.requests.invocation import Invocation, log_one_way_failure
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused

_CONTEXT = msgspec.msgpack.Decoder(dict[str, Any])

STATUS_SHARE_LEFT = 0.75
"""Share (0 to 1) of a request's time-out that is left when its caller gets a status message."""


class Origin(Protocol):
    """The connection by which a request came: `Incoming`.

    peer: the silo or client, for people; caller: the same, for limits; full: it holds as many answers as it may; share:
    its part of what the silo admits; held: requests that wait undelivered; spans: those of the silo, None without
    telemetry.
    """

    payload_limit: int
    peer: str
    caller: str
    full: bool
    admission: Admission
    share: Share
    held: OrderedDict[int, Weighed]
    spans: Spans | None

    def answer(self, message: Response | Rejection) -> None:
        """Send an outcome, if the connection is open."""
        ...

    def fault(self, error: BaseException) -> bytes:
        """The bytes of an error for the wire."""
        ...

    def hold_back(self, call: WireCall) -> bool:
        """Take back a request whose turn is about to start, if its connection must first read answers."""
        ...

    def release(self) -> None:
        """Deliver held requests, in order, while they may start. Called when a request has its outcome."""
        ...


class WireCall(Invocation):
    """A request from another process. `carrier`: the task or the request by which the gateway relays it, if any.

    `origin`: the connection by which it came. `size` is that of the request as `Share` counts it, 0 once its turn has
    ended. `weighed`: all its sizes, None if it and its answer are small.
    """

    origin: Origin
    request: Request
    size: int
    weighed: Weighed | None = None
    carrier: Pending | asyncio.Task[None] | None = None
    status_sent: bool = False
    _decoded: tuple[Any, ...] | None = None
    _unknown: bool = False

    @property
    def caller(self) -> str:
        """The client that it comes from; empty: a grain. What does not say where it comes from is its connection's."""
        named = None if self.context is None else self.context.get(CALLER_KEY)
        return named if isinstance(named, str) else "" if self.chain else self.origin.caller

    def needs_status(self, now: float) -> bool:
        """Whether to send its caller a status message: once, when a quarter of the time-out has passed."""
        return not self.status_sent and now >= self.deadline - STATUS_SHARE_LEFT * self.request.timeout_ms / 1000

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """The arguments, decoded at first use by the types of the method. Used if `may_interleave` looks at them."""
        if self._decoded is None:
            self._decoded = plan.decode(self.request.args, self.request.encoding)
        return self._decoded

    def invoke(self, grain: Any, plan: MethodPlan | None) -> Awaitable[Any]:
        """Start the grain's code. Raises InvalidCall, before that code runs, if the arguments do not fit."""
        assert plan is not None
        request, args = self.request, self._decoded
        if args is None:
            args = plan.decode(request.args, request.encoding)
        return plan.invoke(grain, *args)

    def held_back(self) -> bool:
        """Whether the request must wait again, undelivered, because the answers to its connection are unread."""
        incoming = self.origin
        return (incoming.full or incoming.admission.crowded) and incoming.hold_back(self)

    def started(self) -> None:
        """Answer a one-way request: it is accepted when its turn starts."""
        if self.request.one_way:
            self.origin.answer(Response(self.request.id))

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Send the result."""
        if self.request.one_way or self._unknown:
            self.end()
            return
        assert plan is not None
        payload = plan.encode_result(value, self.request.encoding, self.origin.payload_limit)
        if self.weighed is not None or len(payload) >= LARGE:
            self.origin.admission.sizes.saw(self.request, len(payload))
        self.origin.answer(Response(self.request.id, payload))
        self.end()

    def fail(self, error: BaseException) -> None:
        """Send the error."""
        if self.request.one_way:
            log_one_way_failure(self.grain_id, self.method, error)
        elif not self._unknown:
            self.origin.answer(Response(self.request.id, self.origin.fault(error), failed=True))
        self.end()

    def refuse(self, refused: Refused) -> None:
        """Send the refusal."""
        self.origin.admission.figures.refuse(self.grain_id.type, self.method, refused.counted)
        self.pass_on(refused)

    def pass_on(self, refused: Refused) -> None:
        """Send the refusal of another silo."""
        fault = b"" if refused.cause is None else self.origin.fault(refused.cause)
        after = int(refused.retry_after * 1000)
        self.origin.answer(Rejection(self.request.id, refused.reason, refused.message, refused.hint, after, fault))
        self.end()

    def as_request(self) -> Request:
        """The request for the process that it is forwarded to, with the time left at this moment."""
        left, traceparent = milliseconds_until(self.deadline), clean(self.request.traceparent)
        return msgspec.structs.replace(self.request, timeout_ms=left, traceparent=traceparent)

    def forward(self, response: Response) -> None:
        """Send the response of the silo that executed the forwarded request."""
        self.origin.admission.sizes.saw(self.request, len(response.payload))
        self.origin.answer(Response(self.request.id, response.payload, response.failed))
        self.end()

    def fail_unknown(self, error: CallOutcomeUnknown) -> None:
        """Tell the caller that the outcome stays unknown. A one-way request that started was answered already."""
        if not (self.request.one_way and self.started_at) and not self._unknown:
            self._unknown = True
            fault = self.origin.fault(error)
            self.origin.answer(Rejection(self.request.id, Reason.LOST, str(error), fault=fault))
        self.end()

    def end(self) -> None:
        """The request is no longer in progress. Only the first call has an effect."""
        if self.size:
            incoming, size, self.size = self.origin, self.size, 0
            if self.weighed is not None:
                incoming.share.end(self.weighed.arguments, self.weighed.expected)
            incoming.share.give_back(size)
            if incoming.held:
                incoming.release()


def wire_call(
    origin: Origin,
    request: Request,
    deadline: float,
    size: int,
    context: Mapping[str, Scalar] | None = None,
    weighed: Weighed | None = None,
) -> WireCall:
    """Make the call of a request that arrived."""
    grain_id, method, spans = request.grain_id, request.method, origin.spans
    trace = None if spans is None else spans.arrived(request.traceparent, grain_id, method)
    call = WireCall(grain_id, method, deadline, context, trace, origin, request, size, weighed)
    if request.chain:
        call.chain = request.chain
    if request.principal:
        call.principal = request.principal
    if request.interface_version:
        call.interface_version = request.interface_version
    if weighed is not None or request.one_way:
        call.watched = True  # one that is not weighed starts in its frame, and the answers were looked at there
    return call


def read_context(data: bytes) -> Mapping[str, Scalar] | None:
    """Decode a request context. Raises ValueError unless it is a mapping of scalars."""
    if not data:
        return None
    context = _CONTEXT.decode(data)
    if not all(isinstance(value, Scalar) for value in context.values()):
        raise ValueError("it holds a value that is not a scalar")
    return context
