"""A request whose caller is in this process, from its making to its outcome."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, Protocol

from grange.errors import CallNotExecuted, CallOutcomeUnknown, CallTimeout, InvalidCall
from grange.grains.context import Scalar, encode_context
from grange.observability.counters import CallFigures
from grange.observability.spans import InTrace
from grange.proto.faults import Faults
from grange.proto.ids import GrainId
from grange.proto.message import Encoding, Reason, Request, Response
from grange.runtime.requests.deadlines import Deadlines, milliseconds_until
from grange.runtime.requests.invocation import Invocation, is_cancelled, log_one_way_failure
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused


class CallerSide(Protocol):
    """What a call in this process needs of its caller: `calls/outgoing.py` implements it."""

    faults: Faults
    figures: CallFigures
    awaited: dict[asyncio.Future[Any], Invocation]


class LocalCall(Invocation):
    """A call whose caller is in this process. The caller sets its deadline when it waits.

    parent: the place of its caller in a trace.
    done: whether it has its outcome. That is `error`, or the result `value`.
    """

    one_way: ClassVar[bool] = False

    plan: MethodPlan
    args: tuple[Any, ...]
    side: CallerSide
    parent: InTrace
    done: bool = False
    value: Any = None
    error: BaseException | None = None
    _signal: asyncio.Future[None] | None = None
    _refused: bool = False  # True: its arguments were refused, and that is counted

    def refuse_arguments(self, error: CallNotExecuted) -> None:
        """The arguments do not fit, or are too large: no turn starts."""
        # The request goes to its grain all the same, like one that a remote silo refuses; but its caller is gone.
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
            return self.plan.invoke(grain, *self.args)
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

    # --- the callee is in another process after all: an observer of a client that is connected to this silo ---------

    def as_request(self) -> Request:
        """The request for that process, with the time left at this moment. Raises InvalidCall or PayloadTooLarge."""
        return Request(
            0,
            self.grain_id,
            self.method,
            self.plan.encode(self.args),
            timeout_ms=milliseconds_until(self.deadline),
            context=encode_context(self.context) if self.context else b"",
            one_way=self.one_way,
            traceparent="" if self.parent is None else self.parent.traceparent,
            chain=self.chain,
            principal=self.principal,
        )

    def forward(self, response: Response) -> None:
        """Give the caller the outcome from that process."""
        self.entered = True
        try:
            if response.failed:
                raise self.side.faults.read(response.payload)
            value = None if self.one_way else self.plan.decode_result(response.payload)
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
        signal = self._signal = asyncio.get_running_loop().create_future()
        step = deadlines.add(self, self.deadline)
        self.side.figures.here += 1
        if self.chain:
            self.side.awaited[signal] = self
        try:
            await signal
        except asyncio.CancelledError as error:
            self.abandon(interrupt=True)
            if not self.plan.method.options.awaits_end:
                raise
            await self._wait_for_end(error)
        finally:
            self.side.figures.here -= 1
            if self.chain:
                del self.side.awaited[signal]
            deadlines.discard(self, step)

    async def _wait_for_end(self, error: asyncio.CancelledError) -> None:
        """Wait for the outcome of a call that was cancelled. Raises `error` unless the method completed."""
        if not self.done:
            signal = self._signal = asyncio.get_running_loop().create_future()
            if self.chain:
                self.side.awaited[signal] = self
            try:
                async with asyncio.timeout(self.plan.method.options.end_timeout):
                    await signal
            except TimeoutError:
                raise error from None
            finally:
                self.side.awaited.pop(signal, None)
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

    one_way: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Have its start reported."""
        self.watched = True

    def started(self) -> None:
        """Release the caller: the request is accepted."""
        self._end(None)

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Drop the result."""

    def fail(self, error: BaseException) -> None:
        """Log the error."""
        log_one_way_failure(self.grain_id, self.method, error)


def local_call(
    grain_id: GrainId,
    plan: MethodPlan,
    args: tuple[Any, ...],
    context: Mapping[str, Scalar] | None,
    side: CallerSide,
    trace: InTrace,
) -> LocalCall:
    """Make a call, with its arguments isolated from the caller's. It has no deadline yet."""
    kind = LocalOneWay if plan.one_way else LocalCall
    place = None if trace is None else trace.server(grain_id, plan.name)
    call = kind(grain_id, plan.name, math.inf, context, place, plan, args, side, trace)
    if args:
        try:
            call.args = plan.isolate(args)
        except CallNotExecuted as error:
            call.refuse_arguments(error)
    if plan.interface_version:
        call.interface_version = plan.interface_version
    return call
