"""One request on its way through a silo: a call from this process, a call from the wire, or a timer tick (`tick.py`).

An invocation has exactly one outcome: `succeed`, `fail` (executed and raised), `refuse` (certainly not executed) or
`fail_unknown`. After `fail_unknown` the others have no effect. Calls from the wire are in `calls/wire_call.py`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from grange.errors import CallCancelled, CallNotExecuted, CallOutcomeUnknown, CallTimeout, InvalidCall
from grange.grains.context import Scalar, encode_context
from grange.observability.counters import CallFigures
from grange.observability.spans import InTrace, InTurn, Sampled
from grange.proto.chain import extended, turn_link, without_sections
from grange.proto.faults import Faults
from grange.proto.ids import GrainId
from grange.proto.message import Encoding, Reason, Request, Response
from grange.runtime.requests.deadlines import Deadlines, milliseconds_until
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused
from grange.runtime.requests.scope import Scope

log = logging.getLogger("grange.runtime")


class Holder(Protocol):
    """The part of the silo that has a request at present: an activation or the gateway."""

    def status(self, call: Invocation) -> str:
        """The progress of the request, for the caller's time-out message."""
        ...

    def withdraw(self, call: Invocation, interrupt: bool) -> None:
        """Refuse the request if it waits here, and free its place: its caller has gone.

        `interrupt`: cancel its turn if it runs and the method is `@cancellable`.
        """
        ...


class Invocation(ABC):
    """A request as the catalog, the activation and the invoker see it.

    deadline: loop time after which its turn must not start.
    caller_gone: no caller waits for the outcome; the request is dropped if it has not started.
    interrupted: its turn was cancelled, because its caller was.
    started_at: gate time at which its turn started; arrived_at: that of its arrival if it had to wait, else 0.
    entered: whether the turn has reached the grain's code.
    keeps_alive: whether it counts as use of the activation; False for ticks that must not delay the idle collector.
    watched: whether `held_back` is asked and `started` is called.
    holder: the part of the silo that has it; it sets itself when the request arrives there.
    trace: its place in a trace; None without telemetry.
    chain: the turns that wait for it (`proto/chain.py`). Of its own turn: onward, the chain of the calls that it makes,
    empty before the first one; sections: the links of the parts that `allow_reentrancy` opened.
    overtakes: it need not stay behind a waiting writer. name: that of `deadlocks/local_waits.py`, if it looked at it.
    interface_version: the version of an interface that its caller needs (`proto/versions.py`); 0: any.
    rated: it was counted in the rates of its method, by the activation at which it waited before.
    """

    # Class attributes are defaults, so that a request sets only what differs.
    watched = False
    context: Mapping[str, Scalar] | None = None
    started_at = 0.0
    arrived_at = 0.0
    entered = False
    caller_gone = False
    interrupted = False
    keeps_alive = True
    read_only = False
    always_interleave = False
    interleaves = False
    in_thread = False
    task: asyncio.Task[None] | None = None
    holder: Holder | None = None
    trace: InTurn = None
    chain = b""
    onward = b""
    sections: tuple[bytes, ...] = ()
    overtakes = False
    name = ""
    interface_version = 0
    rated = False

    def __init__(
        self, grain_id: GrainId, method: str, deadline: float, context: Mapping[str, Scalar] | None = None
    ) -> None:
        self.grain_id = grain_id
        self.method = method
        self.deadline = deadline
        self.context = context

    def abandon(self, interrupt: bool = False) -> None:
        """The caller has gone: a request that waits is refused and gives its place back; a turn that runs completes.

        `interrupt`: the caller was cancelled, so the turn of a `@cancellable` method is cancelled too.
        """
        self.caller_gone = True
        if self.holder is not None:
            self.holder.withdraw(self, interrupt)

    def interrupt(self) -> None:
        """Cancel the turn, once. One that has not reached the grain's code refuses the request by itself."""
        if self.entered and not self.interrupted and self.task is not None:
            self.interrupted = True
            self.task.cancel("the caller was cancelled")

    def extend(self, dice: random.Random) -> bytes:
        """Make `onward`: its turn makes its first call."""
        self.onward = extended(self.chain, turn_link(dice.getrandbits(64)))
        return self.onward

    def scope(self, allows: bool) -> Scope:
        """Begin a part of its turn whose calls may come back, or may not."""
        return Scope(self, self.chain if allows else without_sections(self.chain), allows)

    def held_back(self) -> bool:
        """Whether the request must wait again, outside the mailbox. Asked when its turn is about to start."""
        return False

    @abstractmethod
    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """The arguments, isolated from the caller's. Raises InvalidCall if they do not fit the method."""

    def invoke(self, grain: Any, plan: MethodPlan | None) -> Awaitable[Any]:
        """Start the grain's code. Raises InvalidCall, before that code runs, if the arguments do not fit."""
        assert plan is not None
        return plan.invoke(grain, *self.arguments(plan))

    def started(self) -> None:  # noqa: B027
        """The turn started: from now on the request counts as executed."""

    @abstractmethod
    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Outcome: executed, with this result. Raises InvalidResult if the result cannot be encoded."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """Outcome: executed, raised this error."""

    @abstractmethod
    def refuse(self, refused: Refused) -> None:
        """Outcome: certainly not executed."""

    def fail_unknown(self, error: CallOutcomeUnknown) -> None:
        """Outcome unknown: the turn started, and the silo will not report its end. The caller gets this error now."""
        self.fail(error)


class CallerSide(Protocol):
    """What a call in this process needs of its caller: `calls/outgoing.py` implements it."""

    faults: Faults
    figures: CallFigures
    awaited: dict[asyncio.Future[Any], Invocation]


class LocalCall(Invocation):
    """A call whose caller is in this process. The caller sets its deadline when it waits.

    done: whether it has its outcome. That is `error`, or the result `value`.
    """

    deadline = math.inf
    one_way = False
    _parent: InTrace = None
    _refused = False  # True: its arguments were refused, and that is counted

    def __init__(
        self,
        grain_id: GrainId,
        plan: MethodPlan,
        args: tuple[Any, ...],
        context: Mapping[str, Scalar] | None,
        side: CallerSide,
        trace: InTrace = None,
    ) -> None:
        # It sets the attributes of `Invocation`, too: a call of the base class for each request would cost as much.
        self.grain_id = grain_id
        self.method = plan.method.name
        self.context = context
        self.keeps_alive = True
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._plan = plan
        self._side = side
        self._signal: asyncio.Future[None] | None = None
        if trace is not None:
            self._parent = trace
            self.trace = trace.server(grain_id, self.method) if isinstance(trace, Sampled) else trace
        if plan.interface_version:
            self.interface_version = plan.interface_version
        try:
            self._args = plan.isolate(args)
        except CallNotExecuted as error:
            # The request goes to its grain, like one that a remote silo refuses. No turn starts: its caller is gone.
            self.caller_gone = True
            self._end(error)
            reason = Reason.INVALID_CALL if isinstance(error, InvalidCall) else Reason.PAYLOAD_TOO_LARGE
            side.figures.refuse(grain_id.type, self.method, reason.name.lower())
            self._refused = True

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """The arguments, isolated when the call was made, with the types of the method that runs."""
        if plan is self._plan or plan.method.types == self._plan.method.types:
            return self._args
        return plan.decode(self._plan.encode(self._args))

    def invoke(self, grain: Any, plan: MethodPlan | None) -> Awaitable[Any]:
        """Start the grain's code."""
        if plan is self._plan:
            return plan.invoke(grain, *self._args)  # pyright: ignore[reportOptionalMemberAccess]
        return super().invoke(grain, plan)

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Give the caller its own copy of the result, with the type of the method that it called."""
        assert plan is not None
        if plan is self._plan or plan.method.result == self._plan.method.result:
            value = plan.isolate_result(value)
        else:
            value = self._plan.decode_result(plan.encode_result(value, Encoding.MSGPACK, plan.payload_limit))
        if self._signal is None and not self.done:
            self.value, self.done = value, True  # the turn never suspended: no caller waits yet
        else:
            self._end(None, value)

    def fail(self, error: BaseException) -> None:
        """Give the caller the error that a remote caller would get."""
        self._end(self._side.faults.local(error))

    def refuse(self, refused: Refused) -> None:
        """Give the refusal to the caller's retry loop."""
        if not self._refused:
            self._side.figures.refuse(self.grain_id.type, self.method, refused.counted)
        self._end(refused)

    def fail_unknown(self, error: CallOutcomeUnknown) -> None:
        """Give the error to the caller at once."""
        self._end(error)

    # --- the callee is in another process after all: an observer of a client that is connected to this silo ---------

    def as_request(self) -> Request:
        """The request for that process, with the time left at this moment. Raises InvalidCall or PayloadTooLarge."""
        return Request(
            0,
            self.grain_id,
            self.method,
            self._plan.encode(self._args),
            timeout_ms=milliseconds_until(self.deadline),
            context=encode_context(self.context) if self.context else b"",
            one_way=self.one_way,
            traceparent="" if self._parent is None else self._parent.traceparent,
            chain=self.chain,
        )

    def forward(self, response: Response) -> None:
        """Give the caller the outcome from that process."""
        self.entered = True
        try:
            if response.failed:
                raise self._side.faults.read(response.payload)
            value = None if self.one_way else self._plan.decode_result(response.payload)
        except Exception as error:
            self._end(error.with_traceback(None))
        else:
            self._end(None, value)

    def pass_on(self, refused: Refused) -> None:
        """Give the refusal of that process to the caller's retry loop."""
        self._end(refused)

    def expire(self) -> None:
        """Fail with CallTimeout, and drop the request if it has not started."""
        status = self.holder.status(self) if self.holder is not None else "status unknown"
        self._side.figures.timeouts += 1
        self._end(CallTimeout(f"call to {self.grain_id}.{self.method} timed out: {status}"))
        self.abandon(self._plan.method.options.cancels)

    async def answer(self, deadlines: Deadlines, deadline: float) -> Any:
        """Wait for the result. Raises the method's error, Refused, or CallTimeout after the deadline (loop time).

        If the caller is cancelled, a request that waits is dropped, and a turn that runs completes unless the method is
        `@cancellable`.
        """
        if not self.done:
            self.deadline = deadline
            await self._wait(deadlines)
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # else the error and this call form a cycle
        return self.value

    async def _wait(self, deadlines: Deadlines) -> None:
        signal = self._signal = asyncio.get_running_loop().create_future()
        step = deadlines.add(self, self.deadline)
        self._side.figures.here += 1
        if self.chain:
            self._side.awaited[signal] = self
        try:
            await signal
        except asyncio.CancelledError as error:
            self.abandon(interrupt=True)
            if not self._plan.method.options.awaits_end:
                raise
            await self._wait_for_end(error)
        finally:
            self._side.figures.here -= 1
            self._side.awaited.pop(signal, None)
            deadlines.discard(self, step)

    async def _wait_for_end(self, error: asyncio.CancelledError) -> None:
        """Wait for the outcome of a call that was cancelled. Raises `error` unless the method completed."""
        if not self.done:
            signal = self._signal = asyncio.get_running_loop().create_future()
            if self.chain:
                self._side.awaited[signal] = self
            try:
                await signal
            finally:
                self._side.awaited.pop(signal, None)
        if is_cancelled(self.error):
            self.error = None
            raise error

    def _end(self, error: BaseException | None, value: Any = None) -> None:
        if self.done:
            return  # the call has expired; no caller reads a late outcome
        self.done = True
        self.error = error
        self.value = value
        if self._signal is not None and not self._signal.done():
            self._signal.set_result(None)


class LocalOneWay(LocalCall):
    """A one-way call in this process. Its caller waits until the turn starts; errors of the method are logged."""

    watched = True
    one_way = True

    def started(self) -> None:
        """Release the caller: the request is accepted."""
        self._end(None)

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Drop the result."""

    def fail(self, error: BaseException) -> None:
        """Log the error."""
        log_one_way_failure(self.grain_id, self.method, error)


def expired(call: Invocation, now: float) -> Refused | None:
    """The refusal of a request that must not start any more, or None."""
    if call.caller_gone:
        return cancelled()
    if now >= call.deadline:
        return Refused(Reason.EXPIRED, "its time was over before it could start")
    return None


def cancelled() -> Refused:
    """The refusal of a request whose caller has gone before it started."""
    return Refused(Reason.CANCELLED, "its caller stopped waiting before it started")


def is_cancelled(outcome: BaseException | None) -> bool:
    """Whether a call whose caller was cancelled did not complete: it was refused for that, or interrupted."""
    refused = isinstance(outcome, Refused) and outcome.reason is Reason.CANCELLED
    return refused or isinstance(outcome, CallCancelled)


def log_cancelled_failure(grain_id: GrainId, method: str, error: BaseException) -> None:
    """Log an error of a turn that was cancelled: its caller need not wait for it."""
    log.warning(
        "the cancelled turn %s.%s failed", grain_id, method, exc_info=error,
        extra={"event": "cancelled_turn_failed", "grain_type": grain_id.type},
    )  # fmt: skip


def log_one_way_failure(grain_id: GrainId, method: str, error: BaseException) -> None:
    """Log an error of a one-way call: no caller receives it."""
    log.warning(
        "one-way call %s.%s failed", grain_id, method, exc_info=error,
        extra={"event": "one_way_failed", "grain_type": grain_id.type},
    )  # fmt: skip
