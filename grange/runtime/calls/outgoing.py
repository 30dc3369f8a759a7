"""One outgoing call: attempts it in this process or at another silo. `caller.py` uses it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import msgspec

from grange.aio.loop_binding import LoopBinding
from grange.errors import CallError, CallNotExecuted, CallOutcomeUnknown, CallTimeout
from grange.grains.context import Scalar, Turn, acting, encode_context
from grange.observability.counters import CallFigures
from grange.observability.histogram import BOUNDS
from grange.observability.spans import InTrace
from grange.proto.clients import CLIENT_TYPE
from grange.proto.faults import Faults
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Request, Response
from grange.runtime.activations.catalog import Catalog
from grange.runtime.calls.link import Pending
from grange.runtime.calls.sender import Sender
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.deadlines import Deadlines, milliseconds_until
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.local_call import local_call
from grange.runtime.requests.plan import MethodPlan


class CallerDeps(msgspec.Struct, eq=False):
    """The parts that all outgoing calls of one silo or client share. A client has no catalog and no address.

    `binding` is that of the silo or client. `awaited`: the calls inside this process that turns wait for, by the future
    that they wait at. `own`: the identity of code of this process beside its grains; empty: none.
    """

    sender: Sender
    faults: Faults
    deadlines: Deadlines
    options: RuntimeOptions
    binding: LoopBinding
    address: SiloAddress | None = None
    catalog: Catalog | None = None
    figures: CallFigures = msgspec.field(default_factory=CallFigures)
    awaited: dict[asyncio.Future[Any], Invocation] = msgspec.field(default_factory=dict)
    own: bytes = b""

    def principal(self, turn: Turn | None) -> bytes:
        """The identity of a call that this turn makes; None: code beside the grains, as that of observers is."""
        if turn is None or turn.grain_id.type == CLIENT_TYPE:
            return acting.get() or self.own
        return turn.principal and (turn.spoken or turn.speak())

    def error(self, response: Response) -> Exception:
        """The error to raise for a failed response."""
        return self.faults.read(response.payload)

    def result(self, plan: MethodPlan, response: Response, seconds: float) -> Any:
        """The result of a call to another process, which took `seconds`, or raise its error."""
        sent = plan.sent
        calls = sent.calls
        calls.cells[bisect_left(BOUNDS, seconds)] += 1
        calls.total += seconds
        if response.failed:
            sent.failed += 1
            raise self.error(response)
        if plan.one_way:
            return None
        return plan.decode_result(response.payload)

    def lost(self, plan: MethodPlan, error: CallOutcomeUnknown) -> CallOutcomeUnknown:
        """Count a call to another process whose outcome stays unknown. Returns its error."""
        timed_out = isinstance(error, CallTimeout)
        plan.sent.lost(timed_out)
        self.figures.timeouts += timed_out
        return error


class Outgoing:
    """One outgoing call. `handed_over` (one-way calls only) is done once the request is queued on a stream.

    `answered`: whether a silo has executed it. `chain`: the turns that wait for it; a one-way call has none.
    `principal`: the identity of its origin.
    """

    __slots__ = (
        "_deps", "_payload", "answered", "args", "chain", "context", "deadline", "grain_id", "handed_over", "plan",
        "principal", "trace",
    )  # fmt: skip

    def __init__(
        self,
        deps: CallerDeps,
        grain_id: GrainId,
        plan: MethodPlan,
        args: tuple[Any, ...],
        deadline: float,
        context: Mapping[str, Scalar] | None,
    ) -> None:
        self._deps = deps
        self._payload: bytes | None = None
        self.answered = False
        self.grain_id = grain_id
        self.plan = plan
        self.args = args
        self.deadline = deadline
        self.context = context
        self.chain = b""
        self.principal = b""
        self.trace: InTrace = None
        self.handed_over: asyncio.Future[None] | None = None

    @property
    def interface_version(self) -> int:
        """The version of an interface that its caller needs; 0: any."""
        return self.plan.interface_version

    async def attempt(self, target: SiloAddress) -> Any:
        """Attempt the call at this silo. Raises Refused or SiloUnavailable if it was certainly not executed."""
        deps = self._deps
        if deps.catalog is not None and target == deps.address:
            return await self.attempt_locally(deps.catalog)
        began = deps.deadlines.loop.time()
        try:
            response = await deps.sender.send(
                target, self.request(), self.deadline, self._on_posted, self.plan.method.options
            )
        except CallOutcomeUnknown as error:
            raise deps.lost(self.plan, error) from None
        self.answered = True
        return deps.result(self.plan, response, deps.deadlines.loop.time() - began)

    async def attempt_locally(self, catalog: Catalog) -> Any:
        """Attempt the call in this process, without transport or encoding."""
        call = local_call(self.grain_id, self.plan, self.args, self.context, self._deps, self.trace)
        call.deadline, call.chain, call.principal = self.deadline, self.chain, self.principal
        catalog.deliver(call)
        if not isinstance(call.error, CallNotExecuted):  # else its arguments are refused, and nothing is handed over
            self._on_posted()
        try:
            return await call.answer(self._deps.deadlines, self.deadline)
        except CallError:
            self.answered = call.entered
            raise

    def request(self) -> Request:
        """The request for the wire, with the time left at this moment."""
        if self._payload is None:
            self._payload = self.plan.encode(self.args)
        return Request(
            0,
            self.grain_id,
            self.plan.method.name,
            self._payload,
            timeout_ms=0 if self.handed_over is not None else milliseconds_until(self.deadline),
            context=encode_context(self.context) if self.context else b"",
            one_way=self.handed_over is not None,
            traceparent="" if self.trace is None else self.trace.traceparent,
            chain=self.chain,
            interface_version=self.plan.interface_version,
            principal=self.principal,
        )

    def _on_posted(self, _: Pending | None = None) -> None:
        if self.handed_over is not None and not self.handed_over.done():
            self.handed_over.set_result(None)
