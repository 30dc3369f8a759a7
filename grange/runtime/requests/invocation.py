"""One request on its way through a silo, whoever sent it: a call from this process, one from the wire, a timer tick.

An invocation has exactly one outcome: `succeed`, `fail` (executed, raised), `refuse` (certainly not executed) or
`lose` (unknown); after `lose` the others have no effect.
"""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from grange.errors import CallOutcomeUnknown, CallTimeout
from grange.grains.context import Scalar
from grange.proto.faults import Faults
from grange.proto.ids import GrainId
from grange.proto.message import Reason
from grange.runtime.requests.deadlines import Deadlines
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused

log = logging.getLogger("grange.runtime")


class Invocation(ABC):
    """What the catalog, the activation and the invoker see of a request.

    `deadline` (loop time) bounds its start; `gone` means that nobody waits for the outcome any more, so it is dropped
    if it has not started;
    `began` is when its turn did, `entered` whether that has reached the grain's code. `keeps_alive` is False for what
    must not hold an idle activation. `status` answers how far it got; the activation sets it while it is there.
    """

    __slots__ = (
        "always_interleave", "began", "context", "deadline", "entered", "gone", "grain_id", "interleaves",
        "keeps_alive", "method", "read_only", "status", "task",
    )  # fmt: skip

    def __init__(
        self, grain_id: GrainId, method: str, deadline: float, context: Mapping[str, Scalar] | None = None
    ) -> None:
        self.grain_id = grain_id
        self.method = method
        self.deadline = deadline
        self.context = context
        self.began = 0.0
        self.entered = False
        self.gone = False
        self.keeps_alive = True
        self.read_only = False
        self.always_interleave = False
        self.interleaves = False
        self.task: asyncio.Task[None] | None = None
        self.status: Callable[[Invocation], str] | None = None

    @abstractmethod
    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """The arguments, independent of the caller's. Raises InvalidCall for what does not fit."""

    def invoke(self, grain: Any, plan: MethodPlan | None) -> Awaitable[Any]:
        """Start the grain's code. Raises InvalidCall, before any of it ran, for arguments that do not fit."""
        assert plan is not None
        return plan.method.invoke(grain, self.arguments(plan))  # type: ignore[no-any-return]

    @abstractmethod
    def started(self) -> None:
        """Its turn began: from now on it counts as executed."""

    @abstractmethod
    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Executed, with this result. Raises InvalidResult when that cannot travel."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """Executed, raised this."""

    @abstractmethod
    def refuse(self, refused: Refused) -> None:
        """Certainly not executed."""

    def lose(self, error: CallOutcomeUnknown) -> None:
        """It runs, and its end will not be told: the caller gets this error now."""
        self.fail(error)


class LocalCall(Invocation):
    """A call whose caller is in this process. The caller awaits `answer()`."""

    __slots__ = ("_args", "_deadlines", "_done", "_error", "_faults", "_signal", "_value")

    def __init__(
        self,
        grain_id: GrainId,
        plan: MethodPlan,
        args: tuple[Any, ...],
        deadline: float,
        context: Mapping[str, Scalar] | None,
        faults: Faults,
    ) -> None:
        super().__init__(grain_id, plan.method.name, deadline, context)
        self._args = plan.isolate(args)
        self._faults = faults
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._signal: asyncio.Future[None] | None = None

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """They were isolated when the call was made."""
        return self._args

    def started(self) -> None:
        """The caller waits for the end."""

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Hand the caller its own copy of the result."""
        assert plan is not None
        self._value = plan.isolate_result(value)
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """Hand the caller what a remote one would get."""
        self._end(self._faults.local(error))

    def refuse(self, refused: Refused) -> None:
        """Hand the refusal to the caller's loop."""
        self._end(refused)

    def lose(self, error: CallOutcomeUnknown) -> None:
        """Hand it to the caller at once."""
        self._end(error)

    def expire(self) -> None:
        """The caller's time is over; the request is dropped if it has not started."""
        status = self.status(self) if self.status is not None else "status unknown"
        self.gone = True
        self._end(CallTimeout(f"call to {self.grain_id}.{self.method} timed out: {status}"))

    async def answer(self, deadlines: Deadlines) -> Any:
        """The result. Raises what the method raised, `Refused`, or CallTimeout after the deadline.

        A caller that is cancelled here leaves the request to be dropped if it still waits, and to complete if it runs.
        """
        if not self._done:
            await self._signalled(deadlines)
        if self._error is not None:
            raise self._error
        return self._value

    async def _signalled(self, deadlines: Deadlines) -> None:
        self._signal = asyncio.get_running_loop().create_future()
        step = deadlines.add(self, self.deadline)
        try:
            await self._signal
        except asyncio.CancelledError:
            self.gone = True
            raise
        finally:
            deadlines.discard(self, step)

    def _end(self, error: BaseException | None) -> None:
        if self._done:
            return  # it expired before; the late outcome has no reader
        self._done = True
        self._error = error
        if self._signal is not None and not self._signal.done():
            self._signal.set_result(None)


class LocalOneWay(LocalCall):
    """A one-way call in this process: its caller's part ends when the turn begins; errors are logged."""

    __slots__ = ()

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.deadline = math.inf

    def started(self) -> None:
        """Taken in charge: there is nothing more for the caller to wait for."""
        self._end(None)

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Nobody asked."""

    def fail(self, error: BaseException) -> None:
        """Nobody asked, but somebody should know."""
        log_one_way_failure(self.grain_id, self.method, error)


class Tick(Invocation):
    """One tick of a timer: a queued request of its own activation, from nobody."""

    __slots__ = ("callback", "ended", "put_off")

    def __init__(
        self,
        grain_id: GrainId,
        callback: Callable[[], Awaitable[None]],
        ended: Callable[[], None],
        put_off: Callable[[], None],
    ) -> None:
        super().__init__(grain_id, "(timer)", float("inf"))  # no method can have this name
        self.callback = callback
        self.ended = ended
        self.put_off = put_off

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """A tick has none."""
        return ()

    def invoke(self, grain: Any, plan: MethodPlan | None) -> Awaitable[Any]:
        """Call back."""
        return self.callback()

    def started(self) -> None:
        """Nobody waits."""

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Have the next tick planned."""
        self.ended()

    def fail(self, error: BaseException) -> None:
        """Log the error; the timer goes on."""
        log.error(
            "timer of %s failed", self.grain_id, exc_info=error,
            extra={"event": "timer_failed", "grain_type": self.grain_id.type},
        )  # fmt: skip
        self.ended()

    def lose(self, error: CallOutcomeUnknown) -> None:
        """Nobody waits."""

    def refuse(self, refused: Refused) -> None:
        """This tick is lost: the mailbox was full, or the activation is gone and its timers with it.

        But nobody else runs the tick of a silo that must start no turns, so that one comes again.
        """
        if refused.reason is Reason.NOT_READY:
            self.put_off()
        elif refused.reason is not Reason.NOT_HERE:
            self.ended()


def expired(call: Invocation, now: float) -> Refused | None:
    """Why a request that has not started should not start any more."""
    if call.gone:
        return Refused(Reason.CANCELLED, "its caller gave up before it started")
    if now >= call.deadline:
        return Refused(Reason.EXPIRED, "its time was over before it could start")
    return None


def log_one_way_failure(grain_id: GrainId, method: str, error: BaseException) -> None:
    """The one place where an error of a one-way call is seen."""
    log.warning(
        "one-way call %s.%s failed", grain_id, method, exc_info=error,
        extra={"event": "one_way_failed", "grain_type": grain_id.type},
    )  # fmt: skip
