"""One accepted connection: counts its requests, delivers them or lets them wait, and sends their answers."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from grange.aio.portions import in_portions
from grange.errors import ConnectionLost, PayloadTooLarge, SiloUnavailable
from grange.grains.context import Scalar, encode_context
from grange.grains.items import BATCH_KEY, CALLER_KEY
from grange.observability.trace import shortened
from grange.proto.acts import Asker
from grange.proto.chain import checked
from grange.proto.clients import client_id
from grange.proto.handshake import Role
from grange.proto.identity import Identity
from grange.proto.ids import SiloAddress
from grange.proto.message import GOODBYE, Cancel, Message, Reason, Rejection, Request, Response, Status, renewal
from grange.runtime.activations.activation import Activation
from grange.runtime.calls.admission import LARGE, REQUEST_OVERHEAD, SYSTEM_RESERVE, Share, Weighed, decoded_size
from grange.runtime.calls.allowances import RESERVE, Allowance
from grange.runtime.calls.deps import InboundDeps
from grange.runtime.calls.held_requests import HeldRequests
from grange.runtime.calls.load_shedding import RETRY_AFTER
from grange.runtime.calls.oversized_answers import replaced
from grange.runtime.calls.wire_call import WireCall, read_context, wire_call
from grange.runtime.requests.invocation import cancelled
from grange.runtime.system_target import SYSTEM_TYPE
from grange.transport.provider import Connection


class Incoming:
    """One accepted connection and the requests that arrived on it. `_link`: requests to its peer, if it is a client.

    A request is in `held` while it waits undelivered, in `_calls` until it is answered, and counts in `share` until
    its turn has ended, also if the connection has ended before.

    `receive` starts the turn of the usual request: small, with a small answer, for a grain that is here and idle. All
    others are weighed by `_request`, and delivered.
    """

    def __init__(
        self,
        deps: InboundDeps,
        connection: Connection,
        on_lost: Callable[[Incoming], None],
        asker: Asker,
        allowance: Allowance | None,
    ) -> None:
        """`allowance`: what its peer may take; None: it is not limited."""
        self._deps = deps
        self._backlog = deps.backlog
        self._connection = connection
        self._on_lost = on_lost
        self._asker = asker
        self._allowance = allowance
        self._rates = allowance if allowance is not None and allowance.has_rates else None
        self._principal = asker.principal
        self.share = Share(deps.admission)
        self._calls: dict[int, WireCall] = {}
        self._waiting = HeldRequests(self)
        self.held = self._waiting.by_id
        self._is_client = connection.hello.role is Role.CLIENT
        self._lost = self._renewing = False
        self.full = False
        self._read_at = math.inf
        self.admission = deps.admission
        self.spans = deps.spans
        self.sizes = self.admission.sizes
        self.payload_limit = min(deps.admission.options.payload_limit, connection.payload_limit)
        self.peer = str(connection.hello.address or connection.hello.name)
        key = connection.hello.client_key
        self.caller = client_id(key) if key else f"{connection.hello.role.name.lower()} {self.peer:.100}"
        self._link = None if deps.clients is None else deps.clients.accept(connection)
        connection.watch(self._on_written)
        connection.count(deps.traffic)

    @property
    def connection(self) -> Connection:
        """The connection itself, to look at and to end."""
        return self._connection

    @property
    def identity(self) -> Identity | None:
        """The identity of its peer."""
        return self._asker.identity

    @property
    def called(self) -> int:
        """The requests to its peer, a client, that have no answer yet."""
        return 0 if self._link is None else self._link.pending

    @property
    def in_progress(self) -> int:
        """Its requests for grains that have no answer yet."""
        return len(self._calls) + len(self.held)

    @property
    def read_at(self) -> float:
        """Loop time at which the peer last took answers, or the first that waits was made; infinite: none waits."""
        return self._read_at

    def request(self, number: int) -> WireCall | None:
        """The delivered request with this id, while it has no answer."""
        return self._calls.get(number)

    def opened_by(self, silo: SiloAddress) -> bool:
        """Whether this silo opened the connection."""
        return self._connection.hello.address == silo

    def receive(self, messages: Iterable[Message]) -> None:
        """transport.Receiver: take the messages of one frame. Its requests came at one time, and count together."""
        now = asyncio.get_running_loop().time()
        calls, held, silo, small = self._calls, self.held, self.admission, self.sizes.small
        count = total = 0  # of the requests of this frame whose turns start here
        room, room_bytes = self._room(now)
        here, is_silo, principal = self._backlog.entry.direct(), self._asker.is_silo, self._principal
        try:
            for message in messages:
                if not isinstance(message, Request):
                    self._control(message)
                    continue
                if count >= room:
                    self._begun(count, total)
                    count, total, (room, room_bytes) = 0, 0, self._room(now)
                named = not is_silo and (principal or message.principal)
                if (named or message.traceparent or message.chain) and not self._clean(message):
                    continue
                number, grain_id, timeout = message.id, message.grain_id, message.timeout_ms
                size = len(message.args) + REQUEST_OVERHEAD
                if (
                    isinstance(target := here.get(grain_id), Activation)
                    and (plan := target.ready(message.method)) is not None
                    and (plan.guard is None or message.principal in plan.guard)
                    and (not message.interface_version or target.hosted.serves(message.interface_version))
                    and (plan.has_small_result or (grain_id.type, message.method) in small)
                    and size < LARGE
                    and not (message.context or self.full or silo.crowded or number in calls or number in held)
                    and (count < room and total < room_bytes)
                ):
                    count, total = count + 1, total + size
                    call = calls[number] = wire_call(self, message, now + timeout / 1000 if timeout else math.inf, size)
                    target.start(call, plan)
                else:
                    self._begun(count, total)
                    count = total = 0
                    self._request(message, now)
                    room, room_bytes = self._room(now)
        finally:
            self._begun(count, total)

    def _clean(self, request: Request) -> bool:
        """Keep of its trace, its chain and its identity what may be believed. False: it is refused."""
        if request.traceparent:
            request.traceparent = shortened(request.traceparent)
        if request.chain:
            request.chain = checked(request.chain) if self._asker.is_silo else b""
        return self._asker.is_silo or self._identify(request)

    def _identify(self, request: Request) -> bool:
        """Give a client's request its identity. False: it named one that it may not name, and is refused."""
        if not request.principal:
            request.principal = self._principal
        elif request.id not in self._calls and request.id not in self.held:  # else `_request` ends the connection
            try:
                request.principal = self._asker.named(request.principal)
                if request.grain_id.type == SYSTEM_TYPE:
                    raise ValueError("questions to a silo have the identity of their connection, and name no other")
            except ValueError as error:
                self._deps.targets.forged(self._asker, request, str(error))
                self.refuse(request, Rejection(request.id, Reason.UNAUTHORIZED, str(error)))
                return False
        return True

    def _room(self, now: float) -> tuple[int, int]:
        """The requests, and bytes of requests, that may begin in the usual way."""
        look = self._connection.closed or (self._is_client and self.admission.shedder.share)
        requests, size = (0, 0) if look else self.share.room()
        if self._rates is not None:
            self._rates.refill(now)
            requests, size = self._rates.room((requests, size))
        return min(requests, self._backlog.room()), size

    def _begun(self, requests: int, size: int) -> None:
        """Count requests that began in the usual way, and their bytes."""
        if requests:
            self.share.add(requests, size)
            if self._rates is not None:
                self._rates.take(requests, size)
            self._backlog.begin(requests)

    def _control(self, message: Message) -> None:
        """Take a message that is no request."""
        if not isinstance(message, Cancel):
            if self._link is not None:
                self._link.receive((message,))
        elif (call := self._calls.get(message.id)) is not None:
            call.abandon(message.interrupt)
        elif message.id in self.held:
            self._waiting.cancel(message.id, cancelled())

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        """transport.Receiver: drop the requests of this connection that have not started. Turns that run complete."""
        self._lost = True
        now = asyncio.get_running_loop().time()
        self.admission.allowances.leave(self._allowance, now, renewing=self._renewing)
        self._on_lost(self)
        if self._link is not None:
            self._link.lost(unsent, error)
        self.share.set_answers(0, full=False)
        self._waiting.drop()
        calls, self._calls = self._calls, {}
        in_portions(calls.values(), WireCall.abandon)

    # -- answers --

    def answer(self, message: Response | Rejection) -> None:
        """Send an outcome, if the connection is open."""
        self._calls.pop(message.id, None)
        try:
            has_room = self._connection.post(message)
        except SiloUnavailable:
            return  # it is closed
        except PayloadTooLarge as error:
            has_room = False
            self._answer_without_payload(message, error)
        if not has_room or not isinstance(message, Response) or len(message.payload) >= LARGE:
            self._count_answers()

    def _count_answers(self) -> None:
        """Count the answers that wait; small ones are counted when the next frame is written."""
        connection = self._connection
        unwritten, self.full = connection.unwritten, connection.full
        if not unwritten:
            self._read_at = math.inf
        elif self._read_at == math.inf:
            self._read_at = asyncio.get_running_loop().time()
        self.share.set_answers(unwritten, self.full)

    def end_weighed(self, weighed: Weighed) -> None:
        """A weighed request that had started has its outcome."""
        self.share.end(weighed.arguments, weighed.expected)
        self.share.give_back(weighed.size)
        if self.held:
            self.release()

    def _answer_without_payload(self, message: Response | Rejection, error: PayloadTooLarge) -> None:
        try:
            self._connection.post(replaced(message, error, self.fault))
        except PayloadTooLarge:
            # The peer's limit allows no answer. Do not raise: the frame may hold further messages.
            self._connection.kill(ConnectionLost(f"the peer takes no answers: {error}"))

    def report_statuses(self, now: float, limit: int) -> int:
        """Send the status of at most `limit` requests that take long, once for each. Returns how many were handled."""
        due = list(itertools.islice((call for call in self._calls.values() if call.needs_status(now)), max(0, limit)))
        for call in due:
            call.status_sent = True
            if call.holder is not None:
                self.tell(Status(call.request.id, call.holder.status(call)))
        return len(due)

    def send_goodbye(self) -> None:
        """Send the goodbye: this silo takes no more requests. Those that are held are delivered, to be refused."""
        self.tell(GOODBYE)
        self._waiting.deliver_all()

    def ask_to_renew(self, text: str, cut_in: float = 0.0) -> None:
        """Ask the peer for another connection in place of this one: see `message.renewal`."""
        if self._allowance is not None and not (self._renewing or self._lost):
            self._renewing = True
            self._allowance.renewing += 1  # else an identity at its limit could not open the other one
        self.tell(renewal(text, cut_in))

    def tell(self, message: Status | Rejection) -> None:
        """Post a status or a goodbye; drop it if it is too large for the peer."""
        if not self._connection.closed:
            with suppress(PayloadTooLarge):
                self._connection.post(message)

    def fault(self, error: BaseException) -> bytes:
        """The bytes of an error for the wire."""
        return self._deps.faults.encode(error)

    # -- requests --

    def _request(self, request: Request, now: float) -> None:
        if request.id in self._calls or request.id in self.held:
            # The peer could not tell which answer belongs to which request, so end the connection.
            self._connection.kill(ConnectionLost(f"two requests with the id {request.id} at once"))
        if self._connection.closed:
            return  # a later message of the same frame; its answer could not be sent
        arguments_size = len(request.args)
        size = arguments_size + len(request.context) + REQUEST_OVERHEAD
        is_system = request.grain_id.type == SYSTEM_TYPE
        shedder = self.admission.shedder
        if shedder.share and self._is_client and not is_system and shedder.refuses():
            text = f"the event loop of the silo is {shedder.lag:.2f} s late, so it takes a part of the requests"
            self._shed(request, text, RETRY_AFTER, "load_shed")
            return
        if self._rates is not None:
            if wait := self._rates.wait(RESERVE if is_system else 0.0):
                self._shed(request, self.admission.allowances.over_rate(self._rates), wait, "over_rate")
                return
            self._rates.take(1, size)
        if (refusal := self.share.take(size, SYSTEM_RESERVE if is_system else 0)) is not None:
            self._shed(request, refusal, 0.5, "overloaded")
            return
        if arguments_size >= LARGE and (arguments_size := decoded_size(request)) > self.admission.most_decoded:
            self.share.give_back(size)
            text = f"decoded, its arguments would take about {arguments_size:,} bytes; send fewer or larger values"
            self.refuse(request, Rejection(request.id, Reason.PAYLOAD_TOO_LARGE, text))
            return
        deadline = now + request.timeout_ms / 1000 if request.timeout_ms else math.inf
        weighed = Weighed(request, deadline, size, arguments_size, self.sizes.expected(request))
        if self.full or not self.share.may_start(arguments_size, weighed.expected):
            self._waiting.add(weighed)
        else:
            self.begin(weighed)

    def begin(self, weighed: Weighed) -> None:
        """Deliver a request that may start (`held_requests.Holder`)."""
        request = weighed.request
        self.share.start(weighed.arguments, weighed.expected)
        if request.grain_id.type == SYSTEM_TYPE:
            self._deps.tasks.start(self._answer_question(weighed))
            return
        try:
            context = self._context(request)
        except (ValueError, RecursionError) as error:
            text = f"its request context is malformed: {error}"
            self.refuse(request, Rejection(request.id, Reason.INVALID_CALL, text))
            self.end_weighed(weighed)
            return
        call = self._calls[request.id] = wire_call(self, request, weighed.deadline, weighed.size, context, weighed)
        self._backlog.deliver(call)

    def _context(self, request: Request) -> Mapping[str, Scalar] | None:
        """The context of a request. Raises ValueError. A client that begins an enumeration is named in it."""
        context = read_context(request.context)
        if context and self._is_client and (BATCH_KEY in context or CALLER_KEY in context):
            context = {**context, CALLER_KEY: self.caller}
            request.context = encode_context(context)  # for the silo to which the gateway relays it
        return context

    def refuse(self, request: Request, rejection: Rejection, counted: str = "") -> None:
        """Refuse a request that has not reached the catalog. `counted`: its name in figures, if not the reason."""
        self.admission.figures.refuse(request.grain_id.type, request.method, counted or rejection.reason.name.lower())
        self.answer(rejection)

    def _shed(self, request: Request, text: str, retry_after: float, counted: str) -> None:
        """Refuse a request because the silo has too much to do."""
        self._deps.traffic.shed += 1
        rejection = Rejection(request.id, Reason.OVERLOADED, text, retry_after_ms=math.ceil(retry_after * 1000))
        self.refuse(request, rejection, counted)

    async def _answer_question(self, weighed: Weighed) -> None:
        try:
            answer = await self._deps.targets.answer(weighed.request, self.fault, self._asker)
            if isinstance(answer, Response):
                self.sizes.saw(weighed.request, len(answer.payload))
            self.answer(answer)
        finally:
            self.end_weighed(weighed)

    # -- requests that wait until answers are read --

    def hold_back(self, call: WireCall) -> bool:
        """Take back a request whose turn is about to start, if its connection must first read answers."""
        request, weighed = call.request, call.weighed
        expected = weighed.expected if weighed is not None else 0
        if self._lost or request.one_way or not (self.full or self.share.must_read(expected)):
            return False
        self._calls.pop(request.id, None)
        if weighed is None:
            weighed = Weighed(request, call.deadline, call.size, len(request.args), 0)
        else:
            self.share.end(weighed.arguments, expected)
        self._waiting.add(weighed)
        return True

    def _on_written(self) -> None:
        """A frame of answers left this process."""
        self._read_at = math.inf
        self._count_answers()
        if self.held:
            self.release()

    def release(self) -> None:
        """Deliver held requests while they may start (`wire_call.Origin`)."""
        self._waiting.release()
