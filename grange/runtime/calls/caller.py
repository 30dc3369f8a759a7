"""One call to one grain, wherever it is: deadline, context, the one retry loop.

The loop repeats only what was refused or never left this process; never a time-out or a lost connection. There is no
forwarding: who was asked in the wrong place says so, perhaps with a hint, and the loop asks elsewhere.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from grange.aio.tasks import Tasks
from grange.errors import SiloUnavailable
from grange.grains.context import context_values
from grange.grains.interface import MethodSpec
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Encoding, Reason, Request
from grange.runtime.calls.outgoing import CallerDeps, Outgoing
from grange.runtime.locator import Locator
from grange.runtime.requests.deadlines import milliseconds_until, until
from grange.runtime.requests.invocation import log_one_way_failure
from grange.runtime.requests.plan import Plans
from grange.runtime.requests.refusal import REPEATED, Refused

MAX_PAUSE = 1.0
"""Seconds; the longest wait between two tries of a refused call, when nothing is heard of the cluster."""

LEAST = 0.001
"""Seconds; no repeat starts with less time than this, the unit of the wire: nobody could answer it in time, and the
outcome, certainly not executed, would become unknown."""

Attempt = Callable[[SiloAddress], Awaitable[Any]]
"""Try the call at this silo. Raises Refused or SiloUnavailable when it was certainly not executed there."""


class Caller:
    """Makes calls: for the grains of a silo, for its gateway, and for a client (which has no catalog)."""

    def __init__(self, deps: CallerDeps, locator: Locator, plans: Plans, rng: random.Random) -> None:
        self._deps = deps
        self._locator = locator
        self._plans = plans
        self._random = rng
        self._tasks = Tasks()
        self._loop = asyncio.get_running_loop()

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
        deadline = self._loop.time() + (plan.timeout or self._deps.options.response_timeout)
        outgoing = Outgoing(self._deps, grain_id, plan, args, deadline, context_values.get() or None)
        if method.options.one_way:
            return await self._hand_over(outgoing)
        catalog = self._deps.catalog
        if catalog is not None and catalog.find(grain_id) is not None:
            try:
                return await outgoing.here(catalog)
            except Refused as refused:
                if refused.reason not in REPEATED:
                    raise refused.error(grain_id) from None
        return await self.repeat(grain_id, deadline, outgoing.attempt)

    async def call_json(self, grain_id: GrainId, method: str, args: bytes, seconds: float | None) -> bytes:
        """Call a grain whose class is not here; arguments (an array, or an object by name) and result are JSON."""
        deadline = self._loop.time() + (seconds or self._deps.options.response_timeout)

        async def attempt(target: SiloAddress) -> bytes:
            left = milliseconds_until(deadline)
            request = Request(0, grain_id, method, args, Encoding.JSON, timeout_ms=left)
            response = await self._deps.sender.send(target, request, deadline)
            if response.failed:
                raise self._deps.error(response)
            return response.payload

        result: bytes = await self.repeat(grain_id, deadline, attempt)
        return result

    async def repeat(self, grain_id: GrainId, deadline: float, attempt: Attempt) -> Any:
        """The one retry loop: until an outcome, or until the time is over with the call never executed."""
        refusals = 0
        while True:
            target = self._target(grain_id) or await self._locate(grain_id, deadline)
            hint, absent = None, True
            try:
                return await attempt(target)
            except Refused as refused:
                if refused.reason not in REPEATED:
                    raise refused.error(grain_id) from None
                hint, absent, why = refused.hint, refused.reason is Reason.NOT_READY, refused.message
            except SiloUnavailable as error:
                why = str(error)
            refusals += 1
            self._locator.forget(grain_id, target, hint, absent)
            await self._pause(grain_id, deadline, refusals, hint, why)

    def _target(self, grain_id: GrainId) -> SiloAddress | None:
        """Where to send at once. Stateless workers run on the caller's silo if it hosts them and takes new grains."""
        catalog = self._deps.catalog
        if catalog is not None and catalog.is_open:
            hosted = catalog.hosted.get(grain_id.type)
            if hosted is not None and hosted.options.stateless_workers:
                return self._deps.here
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
        if now < deadline and refusals > 1 and (hint is None or refusals > 3):
            longest = min(MAX_PAUSE, 0.01 * 1.7**refusals)
            await self._locator.changed(min(deadline - now, longest * self._random.uniform(0.5, 1.0)))
        if deadline - self._loop.time() < LEAST:
            times = "once" if refusals == 1 else f"{refusals} times, at last"
            raise SiloUnavailable(f"call to {grain_id} was not executed: refused {times}: {why}")

    async def _hand_over(self, outgoing: Outgoing) -> None:
        """One-way: wait until the request is handed over, then see to it in the background."""
        handed: asyncio.Future[None] = self._loop.create_future()
        task = self._tasks.start(self._see_to(outgoing, handed))
        task.add_done_callback(lambda _: _give_up(outgoing.grain_id, handed))
        try:
            await handed
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _see_to(self, outgoing: Outgoing, handed: asyncio.Future[None]) -> None:
        outgoing.handed = handed
        try:
            await self.repeat(outgoing.grain_id, outgoing.deadline, outgoing.attempt)
        except Exception as error:
            if handed.done():
                log_one_way_failure(outgoing.grain_id, outgoing.plan.method.name, error)
            else:
                handed.set_exception(error)


def _give_up(grain_id: GrainId, handed: asyncio.Future[None]) -> None:
    """The task of a one-way call was cancelled, by `close`, before the request had left: tell who waits."""
    if not handed.done():
        handed.set_exception(SiloUnavailable(f"call to {grain_id} was not executed: this process ends its calls"))
