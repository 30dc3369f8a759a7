"""Makes one call to one grain: sets its deadline and request context, and runs the only retry loop.

The loop repeats only a request that was refused or never left this process. It never repeats after a time-out or a lost
connection. Silos do not forward requests: a silo that does not have the grain refuses, perhaps with a hint, and the
loop tries another silo.
"""

from __future__ import annotations

import asyncio
import math
import random
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from grange.aio.awake import AwakeTimeout
from grange.aio.eager import current_task
from grange.aio.portions import Pace, in_portions
from grange.aio.tasks import Tasks
from grange.errors import CallNotExecuted, CallOutcomeUnknown, SiloUnavailable
from grange.grains.context import Scalar, acting, context_values, current_turn, encode_context
from grange.grains.interface import MethodSpec
from grange.observability.spans import InTrace
from grange.observability.steps import part_of
from grange.proto.clients import CLIENT_TYPE
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Encoding, Reason, Request
from grange.runtime.calls.link import Link
from grange.runtime.calls.outgoing import CallerDeps, Outgoing
from grange.runtime.calls.refusals import Refusals
from grange.runtime.locator import Locator
from grange.runtime.requests.deadlines import milliseconds, milliseconds_until, until
from grange.runtime.requests.invocation import log_one_way_failure
from grange.runtime.requests.local_call import LocalCall, local_call
from grange.runtime.requests.plan import MethodPlan, Plans
from grange.runtime.requests.refusal import REPEATED, Refused

MIN_TIME_LEFT = 0.001
"""Seconds; no attempt is repeated with less time left than this, the unit of time-outs on the wire. A silo could not
answer such an attempt in time, and a certain outcome (not executed) would become unknown."""

BEGUN_AT_ONCE = 500
"""Most calls that begin in one iteration of the loop; one begins in about 10 microseconds, or 25 if it is slow."""

MOST_LINKS = 65_536
"""Grains whose links are remembered at most; beyond it all are forgotten. Finding a link again takes microseconds."""

Refusal = tuple[SiloAddress, Refused | SiloUnavailable]
"""A silo that certainly did not execute the call, and its reason."""

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

Attempt = Callable[[SiloAddress], Awaitable[Any]]
"""Makes one attempt of a call at this silo. Raises Refused or SiloUnavailable if the call was certainly not executed
there."""


class Versioned(Protocol):
    """What the place of a call depends on."""

    @property
    def interface_version(self) -> int:
        """The version that its caller needs, as in `Invocation`."""
        ...


class Placed(Versioned, Protocol):
    """What the placement of a call looks at: its request context, too."""

    @property
    def context(self) -> Mapping[str, Scalar] | None:
        """See `Invocation`."""
        ...


class Caller:
    """Makes calls for the grains of a silo, for its gateway, and for a client (which has no catalog).

    `call` has the usual cases: the grain is or belongs in this process, or is known to be at the end of an open link.

    `_links` remembers the links of grains that were called: see ADR 0065.
    """

    def __init__(self, deps: CallerDeps, locator: Locator, plans: Plans, rng: random.Random) -> None:
        self._deps = deps
        self._locator = locator
        self._plans = plans
        self._random = rng
        self._tasks = Tasks()
        self._pace = Pace(BEGUN_AT_ONCE)
        self._loop = get_running_loop()
        self._binding, self._own = deps.binding, deps.own
        self._waits: dict[AwakeTimeout, None] = {}  # an ordered set
        self._links: dict[GrainId, Link] = {}
        self._timeout = deps.options.response_timeout
        self._timeout_ms = milliseconds(self._timeout)
        locator.watch(self._forget)

    async def call(
        self, grain_id: GrainId, method: MethodSpec, args: Args, kwargs: Kwargs, trace: InTrace = None
    ) -> Any:
        """Make one call (`grains.ref.CallsGrains`). An error says whether it was executed. The usual cases are here."""
        if get_running_loop() is not self._binding.loop or current_task(self._loop)._must_cancel:  # type: ignore[union-attr]
            await self._refuse_call(f"call to {grain_id}.{method.name}")
        plan = self._plans[method]
        args = method.bind(args, kwargs) if kwargs or not method.fewest <= len(args) <= method.arity else args
        here = self._deps.catalog
        if here is not None and not plan.one_way and (grain_id in here.targets or self._begins_here(grain_id, plan)):
            call = local_call(grain_id, plan, args, context_values.get() or None, self._deps, trace)
            if (turn := current_turn.get()) is None:
                call.principal = acting.get() or self._own
            else:
                call.chain = turn.onward or turn.extend(self._random)
                if turn.principal:
                    call.principal = self._deps.principal(turn)
            here.deliver(call)
            return call.value if call.done and call.error is None else await self._finish_here(call, plan, args, trace)
        return await self._call_there(grain_id, plan, args, trace)

    async def _call_there(self, grain_id: GrainId, plan: MethodPlan, args: Args, trace: InTrace) -> Any:
        """Make a call by the open link to the silo of its grain, if both are known. All other calls go slowly."""
        if self._pace.spent():
            await self._wait_for_turn(grain_id)
        deadline = (began := self._loop.time()) + (plan.timeout or self._timeout)
        link = known if (known := self._links.get(grain_id)) is not None and known.open else self.link(grain_id, plan)
        if plan.is_special or link is None or (link.crowded and not link.has_room()):
            return await self._call_slowly(grain_id, plan, args, deadline, trace)
        left = self._timeout_ms if plan.timeout is None else milliseconds_until(deadline)
        context = encode_context(values) if (values := context_values.get()) else b""
        request = Request(0, grain_id, plan.name, plan.encode(args), Encoding.MSGPACK, left, context)
        if (turn := current_turn.get()) is None:
            request.principal = acting.get() or self._own
        else:
            request.chain = turn.onward or turn.extend(self._random)
            request.principal = self._deps.principal(turn)
        request.interface_version = plan.interface_version
        try:
            pending = link.post(request, deadline, usual=plan.timeout is None, trace=trace)
            try:
                response = await pending.answer
            except asyncio.CancelledError:
                link.withdraw(pending, interrupt=True)
                raise
            finally:
                del pending  # else an error, its future and this frame form a cycle
        except (Refused, SiloUnavailable) as error:
            refusal = link.silo, error.with_traceback(None)
        except CallOutcomeUnknown as error:
            raise self._deps.lost(plan, error) from None
        else:
            return self._deps.result(plan, response, link.answered_at - began)
        return await self._call_slowly(grain_id, plan, args, deadline, trace, refusal)

    async def _refuse_call(self, call: str) -> None:
        """Raise the error of a call from elsewhere, or CancelledError: its caller was cancelled before the call."""
        if get_running_loop() is not self._binding.loop:
            raise self._binding.refusal(call)
        await asyncio.sleep(0)

    async def drain(self) -> None:
        """Wait until each one-way call was accepted by a silo or has failed."""
        await self._tasks.wait()

    async def close(self) -> None:
        """Cancel the one-way calls that no silo has accepted yet."""
        await self._tasks.close()

    def end(self) -> None:
        """Refuse all calls from now on, also those that wait for a silo: their requests have not left this process."""
        self._binding.end()
        in_portions(list(self._waits), self._end_wait)

    async def _call_slowly(
        self, grain_id: GrainId, plan: MethodPlan, args: Args, deadline: float, trace: InTrace,
        refusal: Refusal | None = None,
    ) -> Any:  # fmt: skip
        """Make the call one-way, or by the retry loop. `refusal`: that of its first attempt."""
        outgoing = Outgoing(self._deps, grain_id, plan, args, deadline, context_values.get() or None)
        outgoing.trace = trace
        outgoing.principal = self._deps.principal(turn := current_turn.get())
        if plan.one_way:
            return await self._call_one_way(outgoing)
        if turn is not None:
            outgoing.chain = turn.onward or turn.extend(self._random)
        return await self._repeat(outgoing, refusal)

    async def _repeat(self, outgoing: Outgoing, refusal: Refusal | None = None) -> Any:
        """Run the retry loop, and count a call that no silo took. `refusal`: that of its first attempt."""
        try:
            return await self.repeat(
                outgoing.grain_id, outgoing.deadline, outgoing.attempt, refusal, outgoing.trace, outgoing
            )
        except CallNotExecuted:
            outgoing.plan.sent.refused += not outgoing.answered  # else it is the error of the method
            raise

    def _begins_here(self, grain_id: GrainId, plan: MethodPlan) -> bool:
        """Whether to create the activation of an absent grain in this process now: it is its place.

        Not for an observer: its client must get the deadline of the call, which a call that begins here has not yet.
        """
        if grain_id.type == CLIENT_TYPE or grain_id in self._links:
            return False
        if self.target(grain_id, plan.interface_version) != self._deps.address:
            return False
        return not self._pace.spent()

    async def _finish_here(self, call: LocalCall, plan: MethodPlan, args: Args, trace: InTrace) -> Any:
        """Wait for the outcome of a call that was delivered in this process. If it is refused, it continues slowly."""
        deadline = self._loop.time() + (plan.timeout or self._timeout)
        try:
            return await call.answer(self._deps.deadlines, deadline)
        except Refused as refused:
            assert self._deps.address is not None, "a silo has an address"
            refusal = self._deps.address, refused.with_traceback(None)
        return await self._call_slowly(call.grain_id, plan, args, deadline, trace, refusal)

    def link(self, grain_id: GrainId, call: Versioned) -> Link | None:
        """The open link to the silo of this grain, if both are known without waiting; it is remembered."""
        known = self._links.get(grain_id)
        if known is not None and known.open:
            return known
        target = self.target(grain_id, call.interface_version)
        link = None if target is None or target == self._deps.address else self._deps.sender.link(target)
        if link is not None:
            if len(self._links) >= MOST_LINKS:
                self._links.clear()
            self._links[grain_id] = link
        return link

    def _forget(self, grain_id: GrainId | None) -> None:
        """Forget the link of this grain, or of all, because its silo may be another one now (`Locator.watch`)."""
        if grain_id is None:
            self._links.clear()
        else:
            self._links.pop(grain_id, None)

    async def call_json(self, grain_id: GrainId, method: str, args: bytes, seconds: float | None) -> bytes:
        """Call a grain without its class. Arguments (an array, or an object by name) and result are JSON."""
        if get_running_loop() is not self._binding.loop:
            raise self._binding.refusal(f"call to {grain_id}.{method}")
        deadline = self._loop.time() + (seconds or self._deps.options.response_timeout)
        principal = self._deps.principal(current_turn.get())

        async def attempt(target: SiloAddress) -> bytes:
            left = milliseconds_until(deadline)
            request = Request(0, grain_id, method, args, Encoding.JSON, timeout_ms=left, principal=principal)
            response = await self._deps.sender.send(target, request, deadline)
            if response.failed:
                raise self._deps.error(response)
            return response.payload

        result: bytes = await self.repeat(grain_id, deadline, attempt)
        return result

    async def repeat(
        self,
        grain_id: GrainId,
        deadline: float,
        attempt: Attempt,
        refusal: Refusal | None = None,
        trace: InTrace = None,
        call: Placed | None = None,
    ) -> Any:
        """Attempt the call until it has an outcome. This is the only retry loop. `refusal`: that of a first attempt.

        `call` has what its placement looks at.

        Raises SiloUnavailable when the time is over and the call was not executed, and CallerClosed when the silo or
        client of this caller ends before.
        """
        refusals = Refusals(self._locator, self._random)
        while True:
            if refusal is not None:
                if trace is not None:
                    trace.refused()
                await self._before_retry(grain_id, deadline, refusals, *refusal)
                if self._pace.spent():  # a new view of the cluster wakes all that wait for it
                    await self._wait_for_turn(grain_id)
            target = self.target(grain_id, 0 if call is None else call.interface_version)
            if target is None:
                target = await self._locate(grain_id, deadline, trace, call)
            try:
                return await attempt(target)
            except (Refused, SiloUnavailable) as error:
                refusal = target, error.with_traceback(None)  # else the error and this frame form a cycle

    async def _before_retry(
        self,
        grain_id: GrainId,
        deadline: float,
        refusals: Refusals,
        target: SiloAddress,
        error: Refused | SiloUnavailable,
    ) -> None:
        """Follow the hint of a refusal, and wait if it was not the first. Raises the error of one that is final."""
        hint, absent, cause = None, True, str(error)
        if isinstance(error, Refused):
            if error.reason not in REPEATED:
                raise error.error(grain_id) from None
            hint, absent, cause = error.hint, error.reason is Reason.NOT_READY, error.message
        self._forget(grain_id)
        self._locator.invalidate(grain_id, target, hint, absent)
        await self._wait_before_retry(grain_id, deadline, refusals, hint, cause)

    def target(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        """The silo to try, if no wait is needed to find it; else None. Stateless workers run here if hosted here.

        `wanted` is the `interface_version` that the caller needs.
        """
        catalog = self._deps.catalog
        if catalog is not None and catalog.is_open:
            hosted = catalog.hosted.get(grain_id.type)
            if hosted is not None and hosted.options.stateless_workers and (not wanted or hosted.serves(wanted)):
                return self._deps.address
        return self._locator.known(grain_id, wanted)

    async def _locate(self, grain_id: GrainId, deadline: float, trace: InTrace, call: Placed | None) -> SiloAddress:
        context, wanted = (None, 0) if call is None else (call.context, call.interface_version)
        try:
            async with until(deadline) as timeout:
                with self._waiting(timeout), part_of(trace, "directory", "locate"):
                    return await self._locator.locate(grain_id, context, wanted)
        except TimeoutError:
            self._check_open(grain_id)
            text = f"call to {grain_id} was not executed: the grain could not be located in time"
            raise SiloUnavailable(text) from None

    async def _wait_for_turn(self, grain_id: GrainId) -> None:
        """Wait for a later iteration of the loop, because so many calls have begun in this one."""
        await self._pace.turn()
        self._check_open(grain_id)

    async def _wait_before_retry(
        self, grain_id: GrainId, deadline: float, refusals: Refusals, hint: SiloAddress | None, cause: str
    ) -> None:
        """Wait before the next attempt, unless the cluster has changed."""
        self._check_open(grain_id)
        pause = min(refusals.pause(hint is not None), deadline - self._loop.time())
        if pause > 0:
            await self._wait_for_change(grain_id, pause)
        if deadline - self._loop.time() < MIN_TIME_LEFT:
            times = "once" if refusals.number == 1 else f"{refusals.number} times, most recently"
            raise SiloUnavailable(f"call to {grain_id} was not executed: refused {times}: {cause}")

    async def _wait_for_change(self, grain_id: GrainId, pause: float) -> None:
        """Wait `pause` seconds, or until the view of the cluster changes, or until `end`."""
        with suppress(TimeoutError):
            async with AwakeTimeout(math.inf) as timeout:
                with self._waiting(timeout):
                    await self._locator.changed(pause)
        self._check_open(grain_id)

    @contextmanager
    def _waiting(self, timeout: AwakeTimeout) -> Generator[None]:
        """Have `end` expire this time-out while the call waits."""
        self._waits[timeout] = None
        try:
            yield
        finally:
            self._waits.pop(timeout, None)

    def _end_wait(self, wait: AwakeTimeout) -> None:
        if wait in self._waits:
            wait.expire()

    def _check_open(self, grain_id: GrainId) -> None:
        if self._binding.loop is None:
            raise self._binding.refusal(f"call to {grain_id}")

    async def _call_one_way(self, outgoing: Outgoing) -> None:
        """Make a one-way call: wait until the request is handed over, then finish it in the background."""
        handed_over: asyncio.Future[None] = self._loop.create_future()
        task = self._tasks.start(self._finish_one_way(outgoing, handed_over))
        task.add_done_callback(lambda _: _fail_unsent(outgoing.grain_id, handed_over))
        try:
            await handed_over
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _finish_one_way(self, outgoing: Outgoing, handed_over: asyncio.Future[None]) -> None:
        """Repeat a one-way call until a silo accepts it. An error after the hand-over is logged."""
        outgoing.handed_over = handed_over
        try:
            await self._repeat(outgoing)
        except Exception as error:
            if handed_over.done():
                log_one_way_failure(outgoing.grain_id, outgoing.plan.method.name, error)
            else:
                handed_over.set_exception(error)


def _fail_unsent(grain_id: GrainId, handed_over: asyncio.Future[None]) -> None:
    """Fail a one-way call that `close` cancelled before its request left this process."""
    if not handed_over.done():
        handed_over.set_exception(SiloUnavailable(f"call to {grain_id} was not executed: this process is closing"))
