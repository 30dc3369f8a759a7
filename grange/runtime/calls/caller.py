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
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

from grange.aio.awake import AwakeTimeout
from grange.aio.portions import Pace, in_portions
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

MAX_RETRY_WAIT = 1.0
"""Seconds; the longest wait between two attempts of a refused call, unless the view of the cluster changes earlier."""

MIN_TIME_LEFT = 0.001
"""Seconds; no attempt is repeated with less time left than this, the unit of time-outs on the wire. A silo could not
answer such an attempt in time, and a certain outcome (not executed) would become unknown."""

Attempt = Callable[[SiloAddress], Awaitable[Any]]
"""Makes one attempt of a call at this silo. Raises Refused or SiloUnavailable if the call was certainly not executed
there."""


class Caller:
    """Makes calls for the grains of a silo, for its gateway, and for a client (which has no catalog)."""

    def __init__(self, deps: CallerDeps, locator: Locator, plans: Plans, rng: random.Random) -> None:
        self._deps = deps
        self._locator = locator
        self._plans = plans
        self._random = rng
        self._tasks = Tasks()
        self._pace = Pace()
        self._loop = get_running_loop()
        self._binding = deps.binding
        self._waits: dict[AwakeTimeout, None] = {}  # an ordered set

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

    async def call(self, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make one call (`grains.ref.CallsGrains`). An error says whether the call was executed."""
        if get_running_loop() is not self._binding.loop:
            raise self._binding.refusal(f"call to {grain_id}.{method.name}")
        plan = self._plans.of(method)
        args = method.bind(args, kwargs)
        deadline = self._loop.time() + (plan.timeout or self._deps.options.response_timeout)
        outgoing = Outgoing(self._deps, grain_id, plan, args, deadline, context_values.get() or None)
        if method.options.one_way:
            return await self._call_one_way(outgoing)
        catalog = self._deps.catalog
        if catalog is not None and catalog.find(grain_id) is not None:
            try:
                return await outgoing.attempt_locally(catalog)
            except Refused as refused:
                if refused.reason not in REPEATED:
                    raise refused.error(grain_id) from None
        return await self.repeat(grain_id, deadline, outgoing.attempt)

    async def call_json(self, grain_id: GrainId, method: str, args: bytes, seconds: float | None) -> bytes:
        """Call a grain without its class. Arguments (an array, or an object by name) and result are JSON."""
        if get_running_loop() is not self._binding.loop:
            raise self._binding.refusal(f"call to {grain_id}.{method}")
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
        """Attempt the call until it has an outcome. This is the only retry loop.

        Raises SiloUnavailable when the time is over and the call was not executed, and CallerClosed when the silo or
        client of this caller ends before.
        """
        refusals = 0
        while True:
            if self._pace.spent():  # also before a repetition: a new view of the cluster wakes all that wait for it
                await self._pace.turn()
            target = self._target(grain_id) or await self._locate(grain_id, deadline)
            hint, absent = None, True
            try:
                return await attempt(target)
            except Refused as refused:
                if refused.reason not in REPEATED:
                    raise refused.error(grain_id) from None
                hint, absent, cause = refused.hint, refused.reason is Reason.NOT_READY, refused.message
            except SiloUnavailable as error:
                cause = str(error)
            refusals += 1
            self._locator.invalidate(grain_id, target, hint, absent)
            await self._wait_before_retry(grain_id, deadline, refusals, hint, cause)

    def _target(self, grain_id: GrainId) -> SiloAddress | None:
        """The silo to try, if no wait is needed to find it; else None. Stateless workers run here if hosted here."""
        catalog = self._deps.catalog
        if catalog is not None and catalog.is_open:
            hosted = catalog.hosted.get(grain_id.type)
            if hosted is not None and hosted.options.stateless_workers:
                return self._deps.address
        return self._locator.known(grain_id)

    async def _locate(self, grain_id: GrainId, deadline: float) -> SiloAddress:
        try:
            async with until(deadline) as timeout:
                with self._waiting(timeout):
                    return await self._locator.locate(grain_id)
        except TimeoutError:
            self._check_open(grain_id)
            raise SiloUnavailable(
                f"call to {grain_id} was not executed: the grain could not be located in time"
            ) from None

    async def _wait_before_retry(
        self, grain_id: GrainId, deadline: float, refusals: int, hint: SiloAddress | None, cause: str
    ) -> None:
        """Wait before the next attempt: no wait after a first refusal or a hint, then growing waits with jitter."""
        self._check_open(grain_id)
        now = self._loop.time()
        if now < deadline and refusals > 1 and (hint is None or refusals > 3):
            longest = min(MAX_RETRY_WAIT, 0.01 * 1.7**refusals)
            pause = min(deadline - now, longest * self._random.uniform(0.5, 1.0))
            await self._wait_for_change(grain_id, pause)
        if deadline - self._loop.time() < MIN_TIME_LEFT:
            times = "once" if refusals == 1 else f"{refusals} times, most recently"
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
            await self.repeat(outgoing.grain_id, outgoing.deadline, outgoing.attempt)
        except Exception as error:
            if handed_over.done():
                log_one_way_failure(outgoing.grain_id, outgoing.plan.method.name, error)
            else:
                handed_over.set_exception(error)


def _fail_unsent(grain_id: GrainId, handed_over: asyncio.Future[None]) -> None:
    """Fail a one-way call that `close` cancelled before its request left this process."""
    if not handed_over.done():
        handed_over.set_exception(SiloUnavailable(f"call to {grain_id} was not executed: this process is closing"))
