"""One call to one grain, wherever it is: deadline, context, the one retry loop.

The loop repeats only what was refused or never left this process; never a time-out or a lost connection. There is no
forwarding: who was asked in the wrong place says so, perhaps with a hint, and the loop asks elsewhere.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from grange.errors import PayloadTooLarge, SiloUnavailable
from grange.grains.context import Scalar, context_values
from grange.grains.interface import MethodSpec
from grange.proto.faults import Fault, Faults
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Encoding, Request
from grange.runtime.catalog import Catalog
from grange.runtime.deadlines import Deadlines, milliseconds_until, until
from grange.runtime.invocation import LocalCall, LocalOneWay, log_one_way_failure
from grange.runtime.locator import Locator
from grange.runtime.options import RuntimeOptions
from grange.runtime.plan import MethodPlan, Plans
from grange.runtime.refusal import REPEATED, Refused
from grange.runtime.sender import Sender
from grange.runtime.tasks import Tasks

_FAULT = msgspec.msgpack.Decoder(Fault)
_CONTEXT = msgspec.msgpack.Encoder()

MAX_PAUSE = 1.0
"""Seconds; the longest wait between two tries of a refused call, when nothing is heard of the cluster."""

Attempt = Callable[[SiloAddress], Awaitable[Any]]
"""Try the call at this silo. Raises Refused or SiloUnavailable when it was certainly not executed there."""


class Caller:
    """Makes calls: for the grains of a silo, for its gateway, and for a client (which has no catalog)."""

    def __init__(
        self,
        here: SiloAddress | None,
        locator: Locator,
        sender: Sender,
        plans: Plans,
        faults: Faults,
        deadlines: Deadlines,
        options: RuntimeOptions,
        chance: random.Random,
    ) -> None:
        self._here = here
        self._locator = locator
        self._sender = sender
        self._plans = plans
        self._faults = faults
        self._deadlines = deadlines
        self._options = options
        self._random = chance
        self._tasks = Tasks()
        self._loop = asyncio.get_running_loop()
        self._catalog: Catalog | None = None

    def host(self, catalog: Catalog) -> None:
        """From now on calls to grains that live here go straight to this catalog."""
        self._catalog = catalog

    async def drain(self) -> None:
        """Wait until every one-way call has been taken in charge or has failed."""
        await self._tasks.wait()

    async def close(self) -> None:
        """Give up one-way calls that nobody has taken in charge yet."""
        await self._tasks.close()

    async def call(self, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """grains.ref.CallsGrains: the result of one call, or an error that says whether it was executed."""
        plan = self._plans.of(method)
        args = method.bind(args, kwargs)
        deadline = self._loop.time() + (plan.timeout or self._options.response_timeout)
        outgoing = _Outgoing(self, grain_id, plan, args, deadline, context_values.get() or None)
        if method.options.one_way:
            return await self._hand_over(outgoing)
        if self._catalog is not None and self._catalog.find(grain_id) is not None:
            try:
                return await outgoing.here(self._catalog)
            except Refused as refused:
                if refused.reason not in REPEATED:
                    raise refused.error(grain_id) from None
        return await self.repeat(grain_id, deadline, outgoing.attempt)

    async def call_json(self, grain_id: GrainId, method: str, args: bytes, seconds: float | None) -> bytes:
        """Call a grain whose class is not here; arguments (an array, or an object by name) and result are JSON."""
        deadline = self._loop.time() + (seconds or self._options.response_timeout)

        async def attempt(target: SiloAddress) -> bytes:
            left = milliseconds_until(deadline)
            request = Request(0, grain_id, method, args, Encoding.JSON, timeout_ms=left)
            response = await self._sender.send(target, request, deadline)
            if response.failed:
                raise self._faults.load(_FAULT.decode(response.payload))
            return response.payload

        result: bytes = await self.repeat(grain_id, deadline, attempt)
        return result

    async def repeat(self, grain_id: GrainId, deadline: float, attempt: Attempt) -> Any:
        """The one retry loop: until an outcome, or until the time is over with the call never executed."""
        refusals = 0
        while True:
            target = self._target(grain_id) or await self._locate(grain_id, deadline)
            hint: SiloAddress | None = None
            try:
                return await attempt(target)
            except Refused as refused:
                if refused.reason not in REPEATED:
                    raise refused.error(grain_id) from None
                hint, why = refused.hint, refused.message
            except SiloUnavailable as error:
                why = str(error)
            refusals += 1
            self._locator.forget(grain_id, target, hint)
            await self._pause(grain_id, deadline, refusals, hint, why)

    def _target(self, grain_id: GrainId) -> SiloAddress | None:
        """Where to send at once. Stateless workers run on the caller's silo if it hosts them."""
        if self._catalog is not None:
            hosted = self._catalog.hosted.get(grain_id.type)
            if hosted is not None and hosted.options.stateless_workers:
                return self._here
        return self._locator.known(grain_id)

    async def _locate(self, grain_id: GrainId, deadline: float) -> SiloAddress:
        try:
            async with until(deadline):
                return await self._locator.locate(grain_id)
        except TimeoutError:
            raise SiloUnavailable(f"call to {grain_id} was not executed: it could not be located in time") from None

    async def _pause(
        self, grain_id: GrainId, deadline: float, refusals: int, hint: SiloAddress | None, why: str
    ) -> None:
        """Wait before the next try: not at all for a first refusal or a hint, then longer and longer, with jitter."""
        now = self._loop.time()
        if now >= deadline:
            raise SiloUnavailable(f"call to {grain_id} was not executed: refused {refusals} times, at last: {why}")
        if refusals == 1 or (hint is not None and refusals < 4):
            return
        longest = min(MAX_PAUSE, 0.01 * 1.7**refusals)
        await self._locator.changed(min(deadline - now, longest * self._random.uniform(0.5, 1.0)))

    async def _hand_over(self, outgoing: _Outgoing) -> None:
        """One-way: wait until the request is handed over, then see to it in the background."""
        handed: asyncio.Future[None] = self._loop.create_future()
        task = self._tasks.start(self._see_to(outgoing, handed))
        try:
            await handed
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _see_to(self, outgoing: _Outgoing, handed: asyncio.Future[None]) -> None:
        outgoing.handed = handed
        try:
            await self.repeat(outgoing.grain_id, outgoing.deadline, outgoing.attempt)
        except Exception as error:
            if handed.done():
                log_one_way_failure(outgoing.grain_id, outgoing.plan.method.name, error)
            else:
                handed.set_exception(error)


class _Outgoing:
    """One call on its way out: how to try it here, and how to try it there."""

    __slots__ = ("_caller", "_payload", "args", "context", "deadline", "grain_id", "handed", "plan")

    def __init__(
        self,
        caller: Caller,
        grain_id: GrainId,
        plan: MethodPlan,
        args: tuple[Any, ...],
        deadline: float,
        context: Mapping[str, Scalar] | None,
    ) -> None:
        self._caller = caller
        self._payload: bytes | None = None
        self.grain_id = grain_id
        self.plan = plan
        self.args = args
        self.deadline = deadline
        self.context = context
        self.handed: asyncio.Future[None] | None = None

    async def attempt(self, target: SiloAddress) -> Any:
        """Try at this silo."""
        caller = self._caller
        if caller._catalog is not None and target == caller._here:
            return await self.here(caller._catalog)
        response = await caller._sender.send(target, self.request(), self.deadline, self._posted)
        if response.failed:
            raise caller._faults.load(_FAULT.decode(response.payload))
        return None if self.handed is not None else self.plan.decode_result(response.payload)

    async def here(self, catalog: Catalog) -> Any:
        """Try in this process: no transport, no encoding."""
        kind = LocalCall if self.handed is None else LocalOneWay
        call = kind(self.grain_id, self.plan, self.args, self.deadline, self.context, self._caller._faults)
        catalog.deliver(call)
        self._posted()
        return await call.answer(self._caller._deadlines)

    def request(self) -> Request:
        """The request for the wire, with the time that is left now."""
        options = self._caller._options
        if self._payload is None:
            self._payload = self.plan.encode(self.args)
            if len(self._payload) > options.payload_limit:
                raise PayloadTooLarge(
                    f"the arguments of {self.plan.method!r} have {len(self._payload)} bytes; the limit is "
                    f"{options.payload_limit}: send a reference to the data, or raise payload_limit",
                    len(self._payload),
                    options.payload_limit,
                )
        return Request(
            0,
            self.grain_id,
            self.plan.method.name,
            self._payload,
            timeout_ms=0 if self.handed is not None else milliseconds_until(self.deadline),
            context=_CONTEXT.encode(self.context) if self.context else b"",
            one_way=self.handed is not None,
        )

    def _posted(self) -> None:
        if self.handed is not None and not self.handed.done():
            self.handed.set_result(None)
