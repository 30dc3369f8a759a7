"""Calls to silo services, from grains, services and other code of this silo: finds the owner of the key and asks it.

The silo that is asked checks that it owns the key in its own view. If not, it refuses, and the call looks again until
its time is over. Only a refused call is repeated.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import msgspec

from grange.aio.backoff import Backoff
from grange.aio.loop_binding import LoopBinding
from grange.aio.tasks import Tasks
from grange.errors import CallTimeout, NoSuchGrain, SiloStopped, SiloUnavailable
from grange.grains.context import Turn, context_values, current_turn, encode_context
from grange.grains.definition import spec_of
from grange.grains.enumeration import CallsGrains
from grange.grains.filters import Filter
from grange.grains.interface import MethodSpec
from grange.grains.ref import reference_class
from grange.grains.service import SiloService, check_service
from grange.membership.agent import MembershipAgent
from grange.proto.faults import Faults
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.keys import Key, encode_key
from grange.proto.service_calls import PREFIX, ServiceAnswer, ServiceCall
from grange.runtime.calls.caller import MIN_TIME_LEFT
from grange.runtime.calls.filtered import FilteredCalls
from grange.runtime.requests.plan import Plans
from grange.runtime.requests.refusal import REPEATED, Refused
from grange.runtime.system_target import Ask
from grange.silo.hosted_services import HostedServices
from grange.silo.service_rings import ServiceRings

S = TypeVar("S", bound=SiloService)

RETRY_FIRST, RETRY_LIMIT = 0.01, 1.0
"""Seconds of the first and the longest pause before a refused call is repeated; a newer view ends any pause."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ServiceAnswer).decode


class ServiceCallsDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo that calls to services need. `timeout` is the response time-out in seconds; `filters` are the
    outgoing ones. `principal` gives the identity of the calls of a turn, or of other code.
    """

    me: SiloAddress
    ask: Ask
    agent: MembershipAgent
    faults: Faults
    plans: Plans
    rings: ServiceRings
    rng: random.Random
    binding: LoopBinding
    timeout: float
    principal: Callable[[Turn | None], bytes]
    filters: tuple[Filter, ...] = ()


class ServiceCalls:
    """Makes references to services, and their calls (`grains.ref.CallsGrains`)."""

    def __init__(self, deps: ServiceCallsDeps, hosted: HostedServices) -> None:
        self._deps = deps
        self._hosted = hosted
        self._tasks = Tasks()
        self._call: CallsGrains = FilteredCalls(self, deps.plans, deps.filters) if deps.filters else self

    def get_service(self, service: type[S], key: Key) -> S:
        """A reference to the object of this service that owns the key, typed as its class. Does no I/O.

        Raises ConfigurationError for a class that is no SiloService, TypeError and ValueError for a wrong key.
        """
        spec = spec_of(check_service(service))
        place = GrainId(spec.name, encode_key(spec.options.key, key))
        return cast("S", reference_class(spec)(place, self._call))

    async def __call__(
        self, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make one call. An error says whether it was executed."""
        deps = self._deps
        deps.binding.check(f"call to {grain_id}.{method.name}")
        plan = deps.plans[method]
        context = encode_context(values) if (values := context_values.get()) else b""
        chain = turn.onward or turn.extend(deps.rng) if (turn := current_turn.get()) is not None else b""
        arguments, principal = plan.encode(method.bind(args, kwargs)), deps.principal(turn)
        question = ServiceCall(grain_id.key, method.name, arguments, context, chain, principal)
        answer = await self._repeat(grain_id, _encode(question), plan.timeout or deps.timeout)
        if answer.failed:
            raise deps.faults.read(answer.payload)
        return plan.decode_result(answer.payload)

    async def close(self) -> None:
        """Cancel the calls that run in this silo."""
        await self._tasks.close()

    async def _repeat(self, place: GrainId, question: bytes, seconds: float) -> ServiceAnswer:
        """Ask until the call was executed. Raises the error of a final refusal, or SiloUnavailable after `seconds`."""
        loop = asyncio.get_running_loop()
        deadline, backoff = loop.time() + seconds, Backoff(RETRY_FIRST, RETRY_LIMIT, self._deps.rng)
        while True:
            owner = self._deps.rings.owner(place)
            if owner is None:
                raise NoSuchGrain(
                    f"call to {place} was not executed: no active silo runs the service {place.type!r}; is its class "
                    "in silo_services= of a silo?"
                )
            try:
                answer = _decode(await self._ask(owner, place, question, deadline - loop.time()))
            except SiloUnavailable as error:
                cause = str(error)
            else:
                if answer.reason is None:
                    return answer
                if answer.reason not in REPEATED:
                    raise Refused(answer.reason, answer.text).error(place)
                cause = answer.text
            pause = min(backoff.pause(), deadline - loop.time() - MIN_TIME_LEFT)
            if pause <= 0:
                raise SiloUnavailable(f"call to {place} was not executed: {cause}")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._deps.agent.changed()

    async def _ask(self, owner: SiloAddress, place: GrainId, question: bytes, seconds: float) -> bytes:
        if owner != self._deps.me:
            return await self._deps.ask(owner, PREFIX + place.type, question, seconds)
        # A call that runs completes, also if its caller waits no longer, as in another silo.
        running: asyncio.Task[bytes] = self._tasks.start(self._hosted.answer(place.type, question))
        done, _ = await asyncio.wait({running}, timeout=seconds)
        if not done:
            raise CallTimeout(f"call to {place} timed out after {seconds:g} s: it runs in this silo")
        if running.cancelled():  # by `close`; the caller was not cancelled
            raise SiloStopped(f"silo {owner} stopped while it ran a call to {place}")
        return running.result()
