"""One outgoing connection: posts requests, and gives each caller its answer.

An answer comes back on the connection that carried its request. If that connection breaks, all its pending calls fail
at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from operator import attrgetter
from typing import Protocol

import msgspec

from grange.aio.portions import in_portions
from grange.errors import (
    CallOutcomeUnknown,
    CallTimeout,
    ConnectionLost,
    RemoteError,
    SiloStopped,
    SiloUnavailable,
    TurnAbandoned,
)
from grange.observability.spans import InTrace
from grange.proto.faults import Faults, type_name
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import GOODBYE, Cancel, Message, Reason, Rejection, Request, Response, Status
from grange.runtime.requests.deadlines import DeadlineOrder, Deadlines
from grange.runtime.requests.refusal import Refused
from grange.runtime.system_target import BARRIER, system_id
from grange.transport.provider import Connection

BARRIER_TIME = 30.0
"""Seconds for which a replaced connection waits at most for the last request of its silo."""

MOST_STATUS = 1000
"""Characters of the status of a call that are kept."""


class Pending(msgspec.Struct, eq=False):
    """One request that waits for its answer. `deadline` is in loop time; `step` is that of its entry in `Deadlines`.

    `cancels`: when its time is over, its turn is cancelled if the method is `@cancellable`. `late`: the answer, if its
    caller was cancelled just before it came: it may ask for the outcome.
    """

    link: Link
    id: int
    grain_id: GrainId
    method: str
    deadline: float
    answer: asyncio.Future[Response]
    step: int = 0
    status: str = "status unknown"
    status_at: float = 0.0
    cancels: bool = False
    late: Response | None = None

    def on_status(self, status: str) -> None:
        """Keep the status that the callee reports, but not all that a client may send."""
        self.status, self.status_at = status[:MOST_STATUS], asyncio.get_running_loop().time()

    def expire(self) -> None:
        """Fail with CallTimeout, and have the callee drop the request if it still waits there."""
        if not self.link.withdraw(self, self.cancels):
            return  # the link ends, and so do its calls, in portions
        status = self.status
        if self.status_at:
            age = asyncio.get_running_loop().time() - self.status_at
            status = f"{status}, as {self.link.name} reported {age:.1f} s before"
        self.fail(CallTimeout(f"call to {self.grain_id}.{self.method} timed out: {status}"))

    def fail(self, error: Exception) -> None:
        """Fail the call with this error, unless it has ended."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Served(Protocol):
    """Takes the requests of the other end of a connection: those of a silo for the observers of a client."""

    @property
    def busy(self) -> bool:
        """Whether a request has no answer yet."""
        ...

    def receive(self, message: Request | Cancel) -> None:
        """Take a request, or the news that its caller has gone."""
        ...

    def lost(self) -> None:
        """The connection ended."""
        ...


class Link:
    """The receiver of one outgoing connection, with its pending calls. Of a client, it may be an accepted connection.

    open: whether `connection` takes requests: from its handshake until the silo's goodbye or the end. `Sender.link`
    sets both.
    crowded: the queue had no room after the last request, so ask `has_room`.
    answered_at: the loop time at which the last frame arrived. Calls count their times up to it, so that a frame reads
    the clock once.
    `on_open` is called when the connection is there, `on_end` when it ends unless another one has replaced it, and
    `on_goodbye` with each goodbye of the silo. `name` is that of the peer in errors, by default its silo. `served`
    takes the requests of the peer; None: it sends none. ended: whether the connection has ended.
    """

    connection: Connection

    def __init__(
        self,
        silo: SiloAddress,
        deadlines: Deadlines,
        faults: Faults,
        ids: Iterator[int],
        on_goodbye: Callable[[Link, Rejection], None],
        name: str = "",
    ) -> None:
        self.silo = silo
        self.name = name or f"silo {silo}"
        self.served: Served | None = None
        self.open = False
        self.ended = False
        self.crowded = False
        self.answered_at = 0.0
        self.on_open: Callable[[Link], None] = _do_nothing
        self.on_end: Callable[[SiloAddress, Exception | None], None] = _ignore
        self._on_goodbye = on_goodbye
        self._answered: asyncio.Event | None = None  # after `retire`: set when no call is pending
        self._faults = faults
        self._ids = ids
        self._loop = deadlines.loop
        self._order: DeadlineOrder[Pending] = DeadlineOrder(self._loop)
        self._pending = self._order.entries  # the calls with the usual time-out
        self._deadlines = deadlines
        self._others: dict[int, Pending] = {}  # the calls with a deadline of their own

    @property
    def pending(self) -> int:
        """The number of calls without an answer."""
        return len(self._pending) + len(self._others)

    def waiting(self) -> Iterator[Pending]:
        """The calls without an answer."""
        return chain(self._pending.values(), self._others.values())

    def has_room(self) -> bool:
        """Whether the queue takes a request without waiting for room."""
        self.crowded = self.connection.full
        return not self.crowded

    def post(self, request: Request, deadline: float, *, usual: bool = False, trace: InTrace = None) -> Pending:
        """Queue a request, and set its `id` and `traceparent`.

        The caller awaits `answer`, and calls `withdraw` or `settle` if it is cancelled.

        `answer` raises Refused or SiloUnavailable (certainly not executed), ConnectionLost or CallTimeout (outcome
        unknown). `usual`: the call has the usual time-out and is posted right when it is made.

        Raises SiloUnavailable if the connection is closed, and PayloadTooLarge. The request is not sent then.
        """
        number = request.id = next(self._ids)
        if trace is not None:
            request.traceparent = trace.traceparent
        pending = Pending(self, number, request.grain_id, request.method, deadline, self._loop.create_future())
        (self._pending if usual else self._others)[number] = pending
        try:
            self.crowded = not self.connection.post(request)
        except BaseException:
            self._take(number)
            raise
        if not usual:
            pending.step = self._deadlines.add(pending, deadline)
        elif self._order.idle:
            self._order.start(deadline)
        return pending

    def withdraw(self, pending: Pending, interrupt: bool) -> bool:
        """Remove a request that is still pending, and send a Cancel for it. Returns whether it was pending.

        `interrupt`: its turn is cancelled too, if the method is `@cancellable`.
        """
        taken = self._take(pending.id) is not None
        if taken:
            self.cancel(pending, interrupt)
        return taken

    def cancel(self, pending: Pending, interrupt: bool) -> None:
        """Send a Cancel for a request, and still take its answer."""
        if not self.connection.closed:
            self.connection.post(Cancel(pending.id, interrupt))

    def shorten(self, pending: Pending, deadline: float) -> None:
        """Wait for the answer of a request until `deadline` (loop time) at most; it has a deadline of its own."""
        if deadline < pending.deadline and self._others.get(pending.id) is pending:
            self._deadlines.discard(pending, pending.step)
            pending.deadline = deadline
            pending.step = self._deadlines.add(pending, deadline)

    async def settle(self, pending: Pending) -> Response:
        """Cancel a request whose caller was cancelled, and wait for its outcome. Raises as its `answer`."""
        if self._pending.get(pending.id, self._others.get(pending.id)) is not pending:
            return pending.late or pending.answer.result()  # no answer came: it raises CancelledError
        pending.answer = self._loop.create_future()
        self.cancel(pending, interrupt=True)
        try:
            return await pending.answer
        except asyncio.CancelledError:
            self._take(pending.id)
            raise

    def receive(self, messages: Iterable[Message]) -> None:
        """transport.Receiver: take answers, rejections and statuses."""
        self.answered_at = self.connection.last_received
        usual = self._pending
        for message in messages:
            if isinstance(message, Response):
                pending = usual.pop(message.id, None) or self._take(message.id)
                if pending is not None and not pending.answer.done():
                    pending.answer.set_result(message)
                elif pending is not None:
                    pending.late = message
            else:
                self._receive_other(message)
        if self._answered is not None:
            self.check_answered()

    def opened(self, connection: Connection) -> None:
        """The connection is there. Called once, before its first message."""
        self.connection = connection
        self.on_open(self)

    def retire(self, *, replaced: bool) -> asyncio.Event:
        """Take no more requests, because the silo leaves, or another connection to it has replaced this one.

        The event that is set when no call of either side waits for an answer. The owner closes the connection then.
        Idempotent.
        """
        self.open = False
        if self._answered is None:
            self._answered = asyncio.Event()
            if replaced:
                self.on_end = _ignore  # the silo is reached by the other connection
                self._await_last_request()
        self.check_answered()
        return self._answered

    def _await_last_request(self) -> None:
        """Wait for the last request of the silo: those that it makes now come by the other connection.

        It answers a request on this connection after all that it sent before, so one that does nothing is enough.
        """
        if self.served is None:
            return
        request = Request(0, system_id(BARRIER), "ask", b"", timeout_ms=int(BARRIER_TIME * 1000))
        with suppress(SiloUnavailable):  # it is closed
            pending = self.post(request, self._loop.time() + BARRIER_TIME)
            pending.answer.add_done_callback(_retrieve)

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        """transport.Receiver: fail all pending calls. Those in `unsent` were certainly not executed.

        The outcome of the others is unknown. Calls `on_end` first, so that a call that is repeated at once avoids this
        silo.
        """
        self.open, self.ended = False, True
        self.on_end(self.silo, error)
        if self.served is not None:
            self.served.lost()
        if self._answered is not None:
            self._answered.set()
        unsent_ids = {message.id for message in unsent if isinstance(message, Request)}

        def fail(pending: Pending) -> Exception:
            if pending.id in unsent_ids:
                return SiloUnavailable(f"the connection to {self.name} broke before the request left")
            return ConnectionLost(f"the connection to {self.name} broke after the request had left: {error}")

        self._fail_all(fail)

    def abandon(self, reason: str) -> None:
        """Fail all pending calls with ConnectionLost: this process closes and does not wait for their answers."""
        self._fail_all(lambda pending: ConnectionLost(f"call to {pending.grain_id}.{pending.method}: {reason}"))

    def _fail_all(self, error: Callable[[Pending], Exception]) -> None:
        """Fail all pending calls, in the order in which they were made, in portions."""
        pending = sorted([*self._order.take_all(), *self._others.values()], key=attrgetter("id"))
        self._others.clear()

        def fail(entry: Pending) -> None:
            self._deadlines.discard(entry, entry.step)
            entry.fail(error(entry))

        in_portions(pending, fail)

    def _take(self, number: int) -> Pending | None:
        """Remove a request that is pending. None: it is not."""
        pending = self._pending.pop(number, None)
        if pending is None and (pending := self._others.pop(number, None)) is not None:
            self._deadlines.discard(pending, pending.step)
        if self._answered is not None:
            self.check_answered()
        return pending

    def _receive_other(self, message: Message) -> None:
        if isinstance(message, Rejection) and message.id == GOODBYE.id:
            self._on_goodbye(self, message)
        elif isinstance(message, Rejection):
            if (pending := self._take(message.id)) is not None:
                pending.fail(self._refused(message))
        elif isinstance(message, Status):
            pending = self._pending.get(message.id) or self._others.get(message.id)
            if pending is not None:
                pending.on_status(message.text)
        elif self.served is not None and isinstance(message, Request | Cancel):
            self.served.receive(message)

    def check_answered(self) -> None:
        """After `retire`: let the connection close if no call of either side waits for an answer."""
        if self._answered is not None and not (
            self._pending or self._others or (self.served is not None and self.served.busy)
        ):
            self._answered.set()

    def _refused(self, message: Rejection) -> Exception:
        cause = self._faults.read_refusal(message.fault) if message.fault else None
        if message.reason is Reason.LOST:
            name = cause.type_name if isinstance(cause, RemoteError) else ""
            return _UNKNOWN.get(name, ConnectionLost)(message.message)
        return Refused(message.reason, message.message, message.hint, message.retry_after_ms / 1000, cause)


_REPORTED = (SiloStopped, TurnAbandoned, CallTimeout)
_UNKNOWN: Mapping[str, type[CallOutcomeUnknown]] = {type_name(cls): cls for cls in _REPORTED}
"""The unknown outcomes that a silo reports itself; of any other cause, the connection was lost."""


def _ignore(_silo: SiloAddress, _error: Exception | None) -> None:
    """Do nothing: the default of `Link.on_end`."""


def _do_nothing(_link: Link) -> None:
    """Do nothing: the default of `Link.on_open`."""


def _retrieve(answer: asyncio.Future[Response]) -> None:
    """Take the outcome, which nothing else awaits."""
    if not answer.cancelled():
        answer.exception()
