"""Takes messages of accepted connections: requests for grains, questions for system targets, cancellations.

There is one `Incoming` per accepted connection. An answer is sent on the connection of its request.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from grange.aio.tasks import Tasks
from grange.errors import CallOutcomeUnknown, ConnectionLost, GrangeError, InvalidResult, PayloadTooLarge
from grange.grains.context import Scalar
from grange.proto.faults import Faults
from grange.proto.ids import SiloAddress
from grange.proto.message import GOODBYE, Cancel, Message, Reason, Rejection, Request, Response, Status
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.invocation import Invocation, log_one_way_failure
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused
from grange.runtime.system_target import SYSTEM_TYPE, SystemTargets
from grange.transport.provider import Connection

log = logging.getLogger("grange.runtime")

_CONTEXT = msgspec.msgpack.Decoder(dict[str, Any])
_FAULT = msgspec.msgpack.Encoder()

STATUS_PERIOD = 1.0
"""Seconds between two rounds of status messages to the callers of slow requests."""

STATUS_LIMIT = 50
"""Most status messages sent in one round. Finding one request in a long queue takes 0.2 ms, and other work waits."""

STATUS_SHARE_LEFT = 0.75
"""Share (0 to 1) of a request's time-out that is left when its caller gets a status message."""


class WireCall(Invocation):
    """A request from another process. `carrier` is the gateway's task that forwards it to another silo, if any."""

    __slots__ = ("_decoded", "_incoming", "_unknown", "carrier", "request", "status_sent")

    def __init__(
        self, incoming: Incoming, request: Request, deadline: float, context: Mapping[str, Scalar] | None
    ) -> None:
        super().__init__(request.grain_id, request.method, deadline, context)
        self.request = request
        self._incoming = incoming
        self._decoded: tuple[Any, ...] | None = None
        self._unknown = False
        self.status_sent = False
        self.carrier: asyncio.Task[Any] | None = None

    def on_caller_gone(self) -> None:
        """Drop the request if it has not started, here or at the silo that it was forwarded to: its caller is gone."""
        self.caller_gone = True
        if self.carrier is not None:
            self.carrier.cancel()

    def needs_status(self, now: float) -> bool:
        """Whether to send its caller a status message: once, when a quarter of the time-out has passed."""
        return not self.status_sent and now >= self.deadline - STATUS_SHARE_LEFT * self.request.timeout_ms / 1000

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """The arguments, decoded at first use by the types of the method."""
        if self._decoded is None:
            self._decoded = plan.decode(self.request.args, self.request.encoding)
        return self._decoded

    def started(self) -> None:
        """Answer a one-way request: it is accepted when its turn starts."""
        if self.request.one_way:
            self._incoming.answer(Response(self.request.id))

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Send the result."""
        if self.request.one_way or self._unknown:
            return
        assert plan is not None
        payload = plan.encode_result(value, self.request.encoding, self._incoming.payload_limit)
        self._incoming.answer(Response(self.request.id, payload))

    def fail(self, error: BaseException) -> None:
        """Send the error."""
        if self.request.one_way:
            log_one_way_failure(self.grain_id, self.method, error)
        elif not self._unknown:
            self._incoming.answer(Response(self.request.id, self._incoming.fault(error), failed=True))

    def refuse(self, refused: Refused) -> None:
        """Send the refusal."""
        fault = b"" if refused.cause is None else self._incoming.fault(refused.cause)
        after = int(refused.retry_after * 1000)
        self._incoming.answer(Rejection(self.request.id, refused.reason, refused.message, refused.hint, after, fault))

    def forward(self, response: Response) -> None:
        """Send the response of the silo that executed the forwarded request."""
        self._incoming.answer(Response(self.request.id, response.payload, response.failed))

    def fail_unknown(self, error: CallOutcomeUnknown) -> None:
        """Tell the caller that the outcome stays unknown. A one-way request that started was answered already."""
        if not (self.request.one_way and self.started_at) and not self._unknown:
            self._unknown = True
            fault = self._incoming.fault(error)
            self._incoming.answer(Rejection(self.request.id, Reason.LOST, str(error), fault=fault))


class Inbound:
    """All accepted connections of one listener. `deliver` (the catalog's or a gateway's) takes requests for grains."""

    def __init__(
        self,
        deliver: Callable[[WireCall], None],
        targets: SystemTargets,
        faults: Faults,
        tasks: Tasks,
        options: RuntimeOptions,
    ) -> None:
        self.deliver = deliver
        self.targets = targets
        self.faults = faults
        self.tasks = tasks
        self.payload_limit = options.payload_limit
        self.admission_limit = options.admission_limit
        self.in_progress = 0
        self._connected: dict[Incoming, None] = {}  # an ordered set: the order of goodbyes must be deterministic
        self._disconnected = asyncio.Event()
        self._disconnected.set()

    def accept(self, connection: Connection) -> Incoming:
        """Make the receiver of a new connection (`transport.Accept`)."""
        incoming = Incoming(self, connection)
        self._connected[incoming] = None
        self._disconnected.clear()
        return incoming

    def last_received(self, silo: SiloAddress) -> float:
        """Loop time of the last frame on a connection that this silo opened; -inf if there was none."""
        return max(
            (incoming.last_received for incoming in self._connected if incoming.opened_by(silo)), default=-math.inf
        )

    def remove(self, incoming: Incoming) -> None:
        """Remove a connection that has ended."""
        self._connected.pop(incoming, None)
        if not self._connected:
            self._disconnected.set()

    @property
    def connected(self) -> list[Incoming]:
        """The open connections, in the order in which they were accepted."""
        return list(self._connected)

    async def drain(self) -> None:
        """Send a goodbye on all connections and wait until the peers close them. Requests must be refused already."""
        for incoming in self.connected:
            incoming.send_goodbye()
        await self._disconnected.wait()


class Incoming:
    """One accepted connection and the requests that arrived on it."""

    def __init__(self, inbound: Inbound, connection: Connection) -> None:
        self._inbound = inbound
        self._connection = connection
        self._calls: dict[int, WireCall] = {}
        self.payload_limit = min(inbound.payload_limit, connection.payload_limit)

    @property
    def last_received(self) -> float:
        """Loop time of its last frame."""
        return self._connection.last_received

    def opened_by(self, silo: SiloAddress) -> bool:
        """Whether this silo opened the connection."""
        return self._connection.hello.address == silo

    def receive(self, message: Message) -> None:
        """transport.Receiver: take one message."""
        if isinstance(message, Request):
            if message.grain_id.type == SYSTEM_TYPE:
                self._inbound.tasks.start(self._answer_question(message))
            else:
                self._request(message)
        elif isinstance(message, Cancel):
            call = self._calls.get(message.id)
            if call is not None:
                call.on_caller_gone()

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        """transport.Receiver: drop the requests of this connection that have not started."""
        self._inbound.remove(self)
        for call in self._calls.values():
            call.on_caller_gone()
        self._inbound.in_progress -= len(self._calls)
        self._calls.clear()

    def answer(self, message: Response | Rejection) -> None:
        """Send an outcome, if the connection is open."""
        call = self._calls.pop(message.id, None)
        if call is not None:
            self._inbound.in_progress -= 1
        if self._connection.closed:
            return
        try:
            self._connection.post(message)
        except PayloadTooLarge as error:
            self._answer_without_payload(message, error)

    def _answer_without_payload(self, message: Response | Rejection, error: PayloadTooLarge) -> None:
        """Send the error in place of an answer that is too large for the connection: the caller must get an answer."""
        if isinstance(message, Rejection):
            brief: Response | Rejection = Rejection(
                message.id, message.reason, "the reason is too long to be sent", message.hint
            )
        else:
            fault = self.fault(InvalidResult(f"it was executed, but its answer cannot be sent: {error}"))
            brief = Response(message.id, fault, failed=True)
        try:
            self._connection.post(brief)
        except PayloadTooLarge:
            # The peer's limit allows no answer. Do not raise: the frame may hold further messages.
            self._connection.kill(ConnectionLost(f"the peer takes no answers: {error}"))

    def report_statuses(self, now: float, limit: int) -> int:
        """Send the status of at most `limit` requests that take long, once for each. Returns how many were handled."""
        due = list(itertools.islice((call for call in self._calls.values() if call.needs_status(now)), max(0, limit)))
        for call in due:
            call.status_sent = True
            if call.status:
                self._post(Status(call.request.id, call.status(call)))
        return len(due)

    def send_goodbye(self) -> None:
        """Send the goodbye: this silo takes no more requests."""
        self._post(GOODBYE)

    def _post(self, message: Status | Rejection) -> None:
        """Post an optional message; drop it if it is too large for the peer."""
        if not self._connection.closed:
            with suppress(PayloadTooLarge):
                self._connection.post(message)

    def fault(self, error: BaseException) -> bytes:
        """The bytes of an error for the wire."""
        return _FAULT.encode(self._inbound.faults.dump(error))

    def _request(self, request: Request) -> None:
        if request.id in self._calls:
            # The peer could not tell which answer belongs to which request, so end the connection.
            self._connection.kill(ConnectionLost(f"two requests with the id {request.id} at once"))
        if self._connection.closed:
            return  # a later message of the same frame; its answer could not be sent
        now = asyncio.get_running_loop().time()
        deadline = now + request.timeout_ms / 1000 if request.timeout_ms else float("inf")
        try:
            context = _read_context(request.context)
        except (ValueError, RecursionError) as error:
            refusal = f"its request context is malformed: {error}"
            self.answer(Rejection(request.id, Reason.INVALID_CALL, refusal))
            return
        call = WireCall(self, request, deadline, context)
        if self._inbound.in_progress >= self._inbound.admission_limit:
            call.refuse(Refused(Reason.OVERLOADED, "the silo has too many requests in progress", retry_after=0.5))
            return
        self._calls[request.id] = call
        self._inbound.in_progress += 1
        self._inbound.deliver(call)

    async def _answer_question(self, request: Request) -> None:
        answer = self._inbound.targets.find(request.grain_id.key)
        if answer is None:
            text = f"there is no system target {request.grain_id.key!r} here"
            self.answer(Rejection(request.id, Reason.NO_SUCH_GRAIN, text))
            return
        self.answer(await _call_target(answer, request, self))


async def report_statuses(connections: Callable[[], Iterable[Incoming]]) -> None:
    """Send callers the status of requests that take long, for their time-out messages. Runs for the life of the silo.

    It visits all connections once per `STATUS_PERIOD`, so that no request needs a timer for it.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(STATUS_PERIOD)
        left = STATUS_LIMIT
        for connection in connections():
            left -= connection.report_statuses(loop.time(), left)


def _read_context(data: bytes) -> Mapping[str, Scalar] | None:
    """Decode a request context. Raises ValueError unless it is a mapping of scalars."""
    if not data:
        return None
    context = _CONTEXT.decode(data)
    if not all(isinstance(value, Scalar) for value in context.values()):
        raise ValueError("it holds a value that is not a scalar")
    return context


async def _call_target(answer: Callable[[bytes], Awaitable[bytes]], request: Request, incoming: Incoming) -> Response:
    try:
        return Response(request.id, await answer(request.args))
    except Exception as error:
        if not isinstance(error, GrangeError):
            log.exception("system target %s failed", request.grain_id.key, extra={"event": "system_target_failed"})
        return Response(request.id, incoming.fault(error), failed=True)
