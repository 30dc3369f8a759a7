"""A message arrives: a request for a grain, a question for a system target, a cancellation.

One `Incoming` per accepted connection; answers leave by the connection their request came by.
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
"""Seconds between two rounds of status messages to callers whose requests take long."""

STATUS_LIMIT = 50
"""Status messages sent in one round at most: finding a place in a long queue takes 0.2 ms, and other work waits."""

SHARE_LEFT = 0.75
"""Share of its time that a request still has when its caller gets a status message."""


class WireCall(Invocation):
    """A request from another process. `carrier` is the task that carries it on to another silo, if one does."""

    __slots__ = ("_decoded", "_incoming", "_lost", "carrier", "request", "told")

    def __init__(
        self, incoming: Incoming, request: Request, deadline: float, context: Mapping[str, Scalar] | None
    ) -> None:
        super().__init__(request.grain_id, request.method, deadline, context)
        self.request = request
        self._incoming = incoming
        self._decoded: tuple[Any, ...] | None = None
        self._lost = False
        self.told = False  # how far it is
        self.carrier: asyncio.Task[Any] | None = None

    def give_up(self) -> None:
        """Nobody waits for it any more: here or where it was carried on to, it is dropped if it has not started."""
        self.gone = True
        if self.carrier is not None:
            self.carrier.cancel()

    def takes_long(self, now: float) -> bool:
        """Whether a quarter of its time is over, so that its caller should hear how far it is. Only once."""
        return not self.told and now >= self.deadline - SHARE_LEFT * self.request.timeout_ms / 1000

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """Decoded at first need, by the types of the method."""
        if self._decoded is None:
            self._decoded = plan.decode(self.request.args, self.request.encoding)
        return self._decoded

    def started(self) -> None:
        """A one-way request is taken in charge when its turn begins."""
        if self.request.one_way:
            self._incoming.answer(Response(self.request.id))

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Send the result."""
        if self.request.one_way or self._lost:
            return
        assert plan is not None
        payload = plan.encode_result(value, self.request.encoding)
        limit = self._incoming.payload_limit
        if len(payload) > limit:
            raise InvalidResult(
                f"{plan.method!r} was executed, its result has {len(payload)} bytes; the limit is {limit}"
            )
        self._incoming.answer(Response(self.request.id, payload))

    def fail(self, error: BaseException) -> None:
        """Send the error."""
        if self.request.one_way:
            log_one_way_failure(self.grain_id, self.method, error)
        elif not self._lost:
            self._incoming.answer(Response(self.request.id, self._incoming.fault(error), failed=True))

    def refuse(self, refused: Refused) -> None:
        """Send the refusal."""
        fault = b"" if refused.cause is None else self._incoming.fault(refused.cause)
        after = int(refused.retry_after * 1000)
        self._incoming.answer(Rejection(self.request.id, refused.reason, refused.message, refused.hint, after, fault))

    def pass_on(self, response: Response) -> None:
        """Executed elsewhere in the caller's name: send what came back."""
        self._incoming.answer(Response(self.request.id, response.payload, response.failed))

    def lose(self, error: CallOutcomeUnknown) -> None:
        """It runs here or elsewhere, and nothing more will be known of it. A one-way request was taken in charge."""
        if not (self.request.one_way and self.began) and not self._lost:
            self._lost = True
            fault = self._incoming.fault(error)
            self._incoming.answer(Rejection(self.request.id, Reason.LOST, str(error), fault=fault))


class Inbound:
    """Where accepted connections lead. `deliver` takes requests for grains: the catalog's, or a gateway's."""

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
        self._connected: dict[Incoming, None] = {}  # a set in order: goodbyes must not depend on addresses in memory
        self._alone = asyncio.Event()
        self._alone.set()

    def accept(self, connection: Connection) -> Incoming:
        """transport.Accept: the receiver of a new connection."""
        incoming = Incoming(self, connection)
        self._connected[incoming] = None
        self._alone.clear()
        return incoming

    def heard_at(self, silo: SiloAddress) -> float:
        """When anything last came from this silo by a connection that it opened, in the event loop's time; -inf: by
        none.
        """
        return max((each.heard_at for each in self._connected if each.opened_by(silo)), default=-math.inf)

    def leave(self, incoming: Incoming) -> None:
        """A connection has ended."""
        self._connected.pop(incoming, None)
        if not self._connected:
            self._alone.set()

    @property
    def connected(self) -> list[Incoming]:
        """The connections of now, in the order in which they came."""
        return list(self._connected)

    async def dismiss(self) -> None:
        """Say goodbye to everybody, and wait until all have ended their connections. Requests are refused by now."""
        for incoming in self.connected:
            incoming.say_goodbye()
        await self._alone.wait()


class Incoming:
    """One accepted connection and the requests that came by it."""

    def __init__(self, inbound: Inbound, connection: Connection) -> None:
        self._inbound = inbound
        self._connection = connection
        self._calls: dict[int, WireCall] = {}
        self.payload_limit = min(inbound.payload_limit, connection.payload_limit)

    @property
    def heard_at(self) -> float:
        """When the last frame came by it."""
        return self._connection.heard_at

    def opened_by(self, silo: SiloAddress) -> bool:
        """Whether it is this silo that asks by it."""
        return self._connection.hello.address == silo

    def receive(self, message: Message) -> None:
        """transport.Receiver: one message."""
        if isinstance(message, Request):
            if message.grain_id.type == SYSTEM_TYPE:
                self._inbound.tasks.start(self._ask(message))
            else:
                self._request(message)
        elif isinstance(message, Cancel):
            call = self._calls.get(message.id)
            if call is not None:
                call.give_up()

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        """transport.Receiver: nobody waits for these any more; what has not started never will."""
        self._inbound.leave(self)
        for call in self._calls.values():
            call.give_up()
        self._inbound.in_progress -= len(self._calls)
        self._calls.clear()

    def answer(self, message: Response | Rejection) -> None:
        """Send an outcome, if its caller is still there."""
        call = self._calls.pop(message.id, None)
        if call is not None:
            self._inbound.in_progress -= 1
        if self._connection.closed:
            return
        try:
            self._connection.post(message)
        except PayloadTooLarge as error:
            self._answer_briefly(message, error)

    def _answer_briefly(self, message: Response | Rejection, error: PayloadTooLarge) -> None:
        """An answer must come: this one is too big for the line, what is wrong with it is not."""
        if isinstance(message, Rejection):
            brief: Response | Rejection = Rejection(message.id, message.reason, "too long to say", message.hint)
        else:
            fault = self.fault(InvalidResult(f"it was executed, but its answer cannot be sent: {error}"))
            brief = Response(message.id, fault, failed=True)
        try:
            self._connection.post(brief)
        except PayloadTooLarge:
            # A peer that takes not even this gets nothing; others wait behind it, so nothing may be raised here.
            self._connection.abort(ConnectionLost(f"the peer takes no answers: {error}"))

    def report_statuses(self, now: float, most: int) -> int:
        """Send the status of at most `most` requests that take long, once for each. Returns how many were due."""
        due = list(itertools.islice((call for call in self._calls.values() if call.takes_long(now)), max(0, most)))
        for call in due:
            call.told = True
            if call.status:
                self._say(Status(call.request.id, call.status(call)))
        return len(due)

    def say_goodbye(self) -> None:
        """No request that comes from now on is taken."""
        self._say(GOODBYE)

    def _say(self, word: Status | Rejection) -> None:
        """A peer that takes not even this goes without; others are told after it."""
        if not self._connection.closed:
            with suppress(PayloadTooLarge):
                self._connection.post(word)

    def fault(self, error: BaseException) -> bytes:
        """An error for the wire."""
        return _FAULT.encode(self._inbound.faults.dump(error))

    def _request(self, request: Request) -> None:
        if request.id in self._calls:
            # Whose answer would be whose? Nothing that comes by such a connection can be trusted.
            self._connection.abort(ConnectionLost(f"two requests with the id {request.id} at once"))
        if self._connection.closed:
            return  # the rest of a frame; nobody would hear the answers
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

    async def _ask(self, request: Request) -> None:
        answer = self._inbound.targets.find(request.grain_id.key)
        if answer is None:
            text = f"there is no system target {request.grain_id.key!r} here"
            self.answer(Rejection(request.id, Reason.NO_SUCH_GRAIN, text))
            return
        self.answer(await _asked(answer, request, self))


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
    """The request context of a request. Raises ValueError for anything but a mapping of scalars."""
    if not data:
        return None
    context = _CONTEXT.decode(data)
    if not all(isinstance(value, Scalar) for value in context.values()):
        raise ValueError("it holds a value that is not a scalar")
    return context


async def _asked(answer: Callable[[bytes], Awaitable[bytes]], request: Request, incoming: Incoming) -> Response:
    try:
        return Response(request.id, await answer(request.args))
    except Exception as error:
        if not isinstance(error, GrangeError):
            log.exception("system target %s failed", request.grain_id.key, extra={"event": "system_target_failed"})
        return Response(request.id, incoming.fault(error), failed=True)
