"""One request on its way through a silo: a call from this process, a call from the wire, or a timer tick.

An invocation has exactly one outcome: `succeed`, `fail` (executed and raised), `refuse` (certainly not executed) or
`fail_unknown`. After `fail_unknown` the others have no effect. Calls from the wire are in `calls/wire_call.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from grange.errors import CallCancelled, CallNotExecuted, CallOutcomeUnknown, CallTimeout, InvalidCall
from grange.grains.context import Scalar
from grange.observability.counters import CallFigures
from grange.observability.spans import InTurn
from grange.proto.chain import extended, turn_link, without_sections
from grange.proto.faults import Faults
from grange.proto.ids import GrainId
from grange.proto.message import Encoding, Reason
from grange.runtime.requests.deadlines import Deadlines
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


class Progress(msgspec.Struct, kw_only=True, eq=False, weakref=True):
    """Where a request is on its way. Each part of the runtime sets the fields that are not as usual.

    holder: the part of the silo that has it; it sets itself when the request arrives there.
    task: that of its turn.
    started_at: gate time at which its turn started; arrived_at: that of its arrival if it had to wait, else 0.
    entered: whether the turn has reached the grain's code.
    caller_gone: no caller waits for the outcome; the request is dropped if it has not started.
    interrupted: its turn was cancelled, because its caller was.
    keeps_alive: whether it counts as use of the activation; False for ticks that must not delay the idle collector.
    watched: whether `held_back` is asked and `started` is called when its turn starts.
    read_only, always_interleave, interleaves, in_thread, overtakes: beside and before which other requests it may run
    (`mailbox.py`).
    onward: the chain of the calls that its turn makes, empty before the first one.
    sections: the links of the parts of its turn that `allow_reentrancy` opened.
    name: that of `deadlocks/local_waits.py`, if it looked at the request.
    """

    holder: Holder | None = None
    task: asyncio.Task[None] | None = None
    started_at: float = 0.0
    arrived_at: float = 0.0
    entered: bool = False
    caller_gone: bool = False
    interrupted: bool = False
    keeps_alive: bool = True
    watched: bool = False
    read_only: bool = False
    always_interleave: bool = False
    interleaves: bool = False
    in_thread: bool = False
    overtakes: bool = False
    onward: bytes = b""
    sections: tuple[bytes, ...] = ()
    name: str = ""


class Invocation(Progress):
    """A request as the catalog, the activation and the invoker see it. A struct, because each call makes one.

    deadline: loop time after which its turn must not start.
    context: the request context, None if it is empty.
    chain: the turns that wait for it (`proto/chain.py`).
    trace: its place in a trace; None without telemetry.
    """

    grain_id: GrainId
    method: str
    deadline: float
    context: Mapping[str, Scalar] | None
    chain: bytes
    trace: InTurn

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.grain_id}.{self.method}>"

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
        return plan.method.invoke(grain, *self.arguments(plan))  # type: ignore[no-any-return]

    def started(self) -> None:
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

    args: isolated when the call is made. done: whether it has its outcome. That is `error`, or the result `value`.
    """

    plan: MethodPlan
    args: tuple[Any, ...]
    side: CallerSide
    done: bool = False
    value: Any = None
    error: BaseException | None = None
    _signal: asyncio.Future[None] | None = None
    _refused: bool = False  # True: its arguments were refused, and that is counted

    def __post_init__(self) -> None:
        """Isolate the arguments."""
        if not self.args:
            return
        try:
            self.args = self.plan.isolate(self.args)
        except CallNotExecuted as error:
            # The request goes to its grain, like one that a remote silo refuses. No turn starts: its caller is gone.
            self.caller_gone = True
            self._end(error)
            reason = Reason.INVALID_CALL if isinstance(error, InvalidCall) else Reason.PAYLOAD_TOO_LARGE
            self.side.figures.refuse(self.grain_id.type, self.method, reason.name.lower())
            self._refused = True

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """The arguments, isolated when the call was made, with the types of the method that runs."""
        if plan is self.plan or plan.method.types == self.plan.method.types:
            return self.args
        return plan.decode(self.plan.encode(self.args))

    def invoke(self, grain: Any, plan: MethodPlan | None) -> Awaitable[Any]:
        """Start the grain's code."""
        if plan is self.plan:
            return plan.method.invoke(grain, *self.args)  # type: ignore[no-any-return]
        return super().invoke(grain, plan)

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Give the caller its own copy of the result, with the type of the method that it called."""
        assert plan is not None
        if plan is self.plan or plan.method.result == self.plan.method.result:
            value = plan.isolate_result(value)
        else:
            value = self.plan.decode_result(plan.encode_result(value, Encoding.MSGPACK, plan.payload_limit))
        if self._signal is None and not self.done:
            self.value, self.done = value, True  # the turn never suspended: no caller waits yet
        else:
            self._end(None, value)

    def fail(self, error: BaseException) -> None:
        """Give the caller the error that a remote caller would get."""
        self._end(self.side.faults.local(error))

    def refuse(self, refused: Refused) -> None:
        """Give the refusal to the caller's retry loop."""
        if not self._refused:
            self.side.figures.refuse(self.grain_id.type, self.method, refused.counted)
        self._end(refused)

    def fail_unknown(self, error: CallOutcomeUnknown) -> None:
        """Give the error to the caller at once."""
        self._end(error)

    def expire(self) -> None:
        """Fail with CallTimeout, and drop the request if it has not started."""
        status = self.holder.status(self) if self.holder is not None else "status unknown"
        self.side.figures.timeouts += 1
        self._end(CallTimeout(f"call to {self.grain_id}.{self.method} timed out: {status}"))
        self.abandon(self.plan.method.options.cancels)

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
        self._signal = asyncio.get_running_loop().create_future()
        step = deadlines.add(self, self.deadline)
        self.side.figures.here += 1
        if self.chain:
            self.side.awaited[self._signal] = self
        try:
            await self._signal
        except asyncio.CancelledError as error:
            self.abandon(interrupt=True)
            if not self.plan.method.options.awaits_end:
                raise
            await self._wait_for_end(error)
        finally:
            self.side.figures.here -= 1
            self.side.awaited.pop(self._signal, None)
            deadlines.discard(self, step)

    async def _wait_for_end(self, error: asyncio.CancelledError) -> None:
        """Wait for the outcome of a call that was cancelled. Raises `error` unless the method completed."""
        if not self.done:
            self._signal = asyncio.get_running_loop().create_future()
            await self._signal
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

    def __post_init__(self) -> None:
        """Isolate the arguments."""
        super().__post_init__()
        self.watched = True

    def started(self) -> None:
        """Release the caller: the request is accepted."""
        self._end(None)

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Drop the result."""

    def fail(self, error: BaseException) -> None:
        """Log the error."""
        log_one_way_failure(self.grain_id, self.method, error)


class Tick(Invocation):
    """One tick of a timer: a queued request of its own activation, without a caller."""

    callback: Callable[[], Awaitable[None]]
    ended: Callable[[], None]
    postpone: Callable[[], None]

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """No arguments."""
        return ()

    def invoke(self, grain: Any, plan: MethodPlan | None) -> Awaitable[Any]:
        """Start the timer's callback."""
        return self.callback()

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Schedule the next tick."""
        self.ended()

    def fail(self, error: BaseException) -> None:
        """Log the error and schedule the next tick."""
        log.error(
            "timer of %s failed", self.grain_id, exc_info=error,
            extra={"event": "timer_failed", "grain_type": self.grain_id.type},
        )  # fmt: skip
        self.ended()

    def fail_unknown(self, error: CallOutcomeUnknown) -> None:
        """Do nothing: a tick has no caller."""

    def refuse(self, refused: Refused) -> None:
        """Drop this tick. A fenced silo's tick is tried again later, because no other silo runs it.

        After a full mailbox the next tick is scheduled; a gone activation has no timers.
        """
        if refused.reason is Reason.NOT_READY:
            self.postpone()
        elif refused.reason is not Reason.NOT_HERE:
            self.ended()


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
