"""One request on its way through a silo.

It is a call from this process (`local_call.py`), a call from the wire (`calls/wire_call.py`) or a tick of a timer
(`tick.py`). An invocation has exactly one outcome: `succeed`, `fail` (executed and raised), `refuse` (certainly not
executed) or `fail_unknown`. After `fail_unknown` the others have no effect.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import abstractmethod
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

import msgspec

from grange.errors import CallCancelled, CallOutcomeUnknown
from grange.grains.context import Scalar, current_turn
from grange.grains.work import Work
from grange.observability.spans import InTurn
from grange.proto.chain import with_turn, without_sections
from grange.proto.identity import GRAIN, spoken_by
from grange.proto.ids import GrainId
from grange.proto.message import Reason
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
    read_only, always_interleave, interleaves, alone, overtakes: beside and before which other requests it may run
    (`activations/mailbox.py`).
    work: what its turn changes as a whole, so that no call may come back into it; None in other turns.
    principal: the identity of its origin (`proto/identity.py`).
    spoken: the identity of the calls that its turn makes, empty before the first one.
    chain: the turns that wait for it (`proto/chain.py`).
    onward: the chain of the calls that its turn makes, empty before the first one.
    sections: the links of the parts of its turn that `allow_reentrancy` opened.
    name: that of `deadlocks/local_waits.py`, if it looked at the request.
    interface_version: the version of an interface that its caller needs (`proto/versions.py`); 0: any.
    rated: it was counted in the rates of its method, by the activation at which it waited before.
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
    alone: bool = False
    work: Work | None = None
    overtakes: bool = False
    principal: bytes = b""
    spoken: bytes = b""
    chain: bytes = b""
    onward: bytes = b""
    sections: tuple[bytes, ...] = ()
    name: str = ""
    interface_version: int = 0
    rated: bool = False


class Invocation(Progress):
    """A request as the catalog, the activation and the invoker see it. A struct, because each call makes one.

    deadline: loop time after which its turn must not start.
    context: the request context, None if it is empty.
    trace: its place in a trace; None without telemetry.
    """

    grain_id: GrainId
    method: str
    deadline: float
    context: Mapping[str, Scalar] | None
    trace: InTurn

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.grain_id}.{self.method}>"

    @property
    def caller(self) -> str:
        """The client that it comes from; empty: a grain or other code of a silo."""
        return ""

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

    def speak(self) -> bytes:
        """Make `spoken`: its turn makes its first call."""
        spoken = self.spoken = spoken_by(self.principal, GRAIN + self.grain_id.type)
        return spoken

    def extend(self, dice: random.Random) -> bytes:
        """Make `onward`: its turn makes its first call."""
        onward = self.onward = with_turn(self.chain, dice.getrandbits(64))
        return onward

    def scope(self, allows: bool) -> Scope:
        """Begin a part of its turn whose calls may come back, or may not. Raises RuntimeError where none may."""
        if allows and self.work is not None:
            raise RuntimeError(
                "allow_reentrancy() has no effect in a @transactional method, whose changes may still be rolled back: "
                "no other turn runs beside it. Make the call in a method that is not transactional"
            )
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


def work_of_turn() -> Work | None:
    """The unit of work of the running turn, while its method runs; None in other code."""
    turn = current_turn.get()
    call = turn.turn if isinstance(turn, Scope) else turn
    return call.work if isinstance(call, Invocation) else None


def trace_of(call: Invocation) -> str:
    """The id of the trace of a call, in hexadecimal; empty without one."""
    return "" if call.trace is None else call.trace.traceparent[3:35]


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
