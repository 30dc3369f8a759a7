"""The silo services of one silo: builds one object of each, answers calls to it, and reports changes of its ranges.

`silo/startup.py` starts them when the silo is active; the stop of the silo ends them after its grains.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar, cast

import msgspec

from grange.aio.tasks import Tasks
from grange.errors import ConfigurationError, InvalidCall, SiloStopped, StartupFailed
from grange.grains.context import context_values, current_turn
from grange.grains.definition import Addressable, spec_of
from grange.grains.facets import constructor_parameters
from grange.grains.filters import Filter
from grange.grains.ref import GrainFactory
from grange.grains.registry import Container, Registry
from grange.grains.service import SiloService
from grange.membership.model.member import View
from grange.observability.application_events import ServiceFailed
from grange.observability.events import Events
from grange.proto.chain import checked, with_turn
from grange.proto.faults import Faults
from grange.proto.identity import SILO, spoken_by
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.keys import Key, encode_key
from grange.proto.message import Encoding, Reason
from grange.proto.service_calls import PREFIX, ServiceAnswer, ServiceCall
from grange.runtime.calls.wire_call import read_context
from grange.runtime.gate import Gate
from grange.runtime.requests.filtering import IncomingFilters
from grange.runtime.requests.plan import MethodPlan, Plans
from grange.runtime.system_target import SystemTargets
from grange.silo.service_rings import ServiceRings

G = TypeVar("G", bound=Addressable)
S = TypeVar("S", bound=SiloService)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ServiceCall).decode


class HostedDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo that its services need."""

    me: SiloAddress
    name: str
    registry: Registry
    plans: Plans
    faults: Faults
    rings: ServiceRings
    gate: Gate
    events: Events
    filters: tuple[Filter, ...] = ()


class ServiceTurn:
    """One call that a service runs, as the filters around it and the calls that it makes see it (`context.Turn`)."""

    def __init__(self, grain_id: GrainId, chain: bytes, principal: bytes) -> None:
        self.grain_id = grain_id
        self.principal = principal
        self.spoken = b""
        self.onward = b""
        self._chain = chain

    @property
    def holder(self) -> ServiceTurn:
        """Itself: a service has no activation."""
        return self

    def speak(self) -> bytes:
        """Make `spoken`: a service speaks as its silo."""
        self.spoken = spoken_by(self.principal, SILO)
        return self.spoken

    def extend(self, dice: random.Random) -> bytes:
        """Make `onward`: it makes its first call."""
        self.onward = with_turn(self._chain, dice.getrandbits(64))
        return self.onward

    def failed(self, error: BaseException) -> None:
        """Do nothing: a service has no state that is stored."""


class Hosted:
    """One service of this silo. It is the service's context (`grains.service.ServiceContext`).

    `running` are the calls that run; `quiet` is set while there is none.
    """

    def __init__(self, cls: type[SiloService], deps: HostedDeps) -> None:
        spec = spec_of(cls)
        self.cls = cls
        self.name = spec.name
        self.plans: dict[str, MethodPlan] = deps.plans.of_interface(spec)
        IncomingFilters(deps.filters, cls, self.plans)
        self.service: SiloService | None = None
        self.serving = False
        self.changed = asyncio.Event()
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.running = 0
        self._deps = deps
        self._container = Container(deps.registry)
        self._parameters = [each for each in constructor_parameters(cls) if each.required or _has(deps.registry, each)]
        for parameter in self._parameters:
            if not _has(deps.registry, parameter):
                raise ConfigurationError(
                    f"{cls.__name__}.__init__: nothing is registered for {parameter.name!r} ({parameter.kind!r}); "
                    "register it in the svcs.Registry given to the silo as services="
                )
        self._seen: tuple[tuple[int, int], ...] | None = None
        self._tasks = Tasks()
        self.factory: Factories | None = None

    # --- grains.service.ServiceContext ----------------------------------------------------------------------------

    @property
    def silo(self) -> str:
        """The name of this silo."""
        return self._deps.name

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges that this silo owns in its newest view."""
        return self._deps.rings.ranges(self.name, self._deps.me)

    def owns(self, kind: type[Addressable], key: Key) -> bool:
        """Whether this silo owns the key in its newest view."""
        place = GrainId(self.name, encode_key(spec_of(kind).options.key, key))
        return self._deps.rings.owner(place) == self._deps.me

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to a grain."""
        assert self.factory is not None, "it is set before the service is built"
        return self.factory.grains.get_grain(grain, key, implementation=implementation)

    def get_service(self, service: type[S], key: Key) -> S:
        """A reference to a service."""
        assert self.factory is not None, "it is set before the service is built"
        return cast("S", self.factory.get_service(service, key))

    # --- its life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Build the object, and run `on_start`. Raises StartupFailed with the name of the service."""
        try:
            arguments = {each.name: await self._container.aget(each.kind) for each in self._parameters}
            service = self.cls.__new__(self.cls)
            object.__setattr__(service, "_grange", self)
            service.__init__(**arguments)  # type: ignore[misc]
            await service.on_start()
        except Exception as error:
            raise StartupFailed(f"silo service {self.name!r} did not start: {type(error).__name__}: {error}") from error
        self.service = service
        self.serving = True
        self.changed.set()
        self._tasks.start(self._watch())

    async def _watch(self) -> None:
        """Call `on_ranges` after each change, one call at a time, until the service stops."""
        assert self.service is not None, "it has started"
        while True:
            await self.changed.wait()
            self.changed.clear()
            if not self.serving:
                return
            ranges = self.ranges
            if ranges == self._seen:
                continue
            self._seen = ranges
            try:
                await self.service.on_ranges()
            except Exception as error:
                self._report("on_ranges", error)

    async def stop(self) -> None:
        """Wait for the calls and the `on_ranges` that run, run `on_stop`, and close its services."""
        self.serving = False
        await self.quiet.wait()
        self.changed.set()
        await self._tasks.wait()
        try:
            if self.service is not None:
                await self.service.on_stop()
        except Exception as error:
            self._report("on_stop", error)
        finally:
            await self._container.aclose()

    async def kill(self) -> None:
        """End without a hook. Its services stay open for the calls that run, until `free`."""
        self.serving = False
        await self._tasks.close()

    async def free(self, ended: SiloStopped) -> None:
        """Close its services, unless `stop` has. Those registered to see errors get `ended`, and do not commit."""
        await self._container.__aexit__(type(ended), ended, None)

    def _report(self, hook: str, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"[:500]
        self._deps.events.publish(ServiceFailed(self.name, hook, text), error)

    # --- calls ----------------------------------------------------------------------------------------------------

    async def answer(self, call: ServiceCall) -> ServiceAnswer:
        """The outcome of one call."""
        deps = self._deps
        if not self.serving or self.service is None or deps.gate.fenced is not None:
            text = f"silo service {self.name!r} does not run yet, or no longer, on {deps.me}"
            return ServiceAnswer(reason=Reason.NOT_READY, text=text)
        place = GrainId(self.name, call.key)
        if deps.rings.owner(place) != deps.me:
            return ServiceAnswer(reason=Reason.NOT_HERE, text=f"silo {deps.me} does not own {place}")
        plan = self.plans.get(call.method)
        if plan is None:
            known = ", ".join(sorted(self.plans)) or "none"
            text = f"{self.name!r} has no method {call.method!r}; it has: {known}"
            return ServiceAnswer(reason=Reason.NO_SUCH_METHOD, text=text)
        try:
            arguments, context = plan.decode(call.args), read_context(call.context)
        except (InvalidCall, ValueError, RecursionError) as error:
            return ServiceAnswer(reason=Reason.INVALID_CALL, text=str(error))
        if context:
            context_values.set(context)
        current_turn.set(ServiceTurn(place, checked(call.chain), call.principal))
        return await self._run(self.service, plan, arguments)

    async def _run(self, service: SiloService, plan: MethodPlan, arguments: tuple[Any, ...]) -> ServiceAnswer:
        self.running += 1
        self.quiet.clear()
        try:
            value = await plan.invoke(service, *arguments)
            return ServiceAnswer(plan.encode_result(value, Encoding.MSGPACK, plan.payload_limit))
        except Exception as error:
            return ServiceAnswer(_encode(self._deps.faults.dump(error)), failed=True)
        finally:
            self.running -= 1
            if not self.running:
                self.quiet.set()


class Factories(msgspec.Struct, frozen=True, eq=False):
    """Where services get references from: to grains, and by a function to services."""

    grains: GrainFactory
    get_service: Any


class HostedServices:
    """All services of one silo, in the order of `silo_services=`."""

    def __init__(self, classes: Sequence[type[SiloService]], deps: HostedDeps) -> None:
        self._hosted = {each.name: each for each in (Hosted(cls, deps) for cls in classes)}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the services."""
        return tuple(self._hosted)

    def bind(self, factories: Factories) -> None:
        """Give the services their references. Called once, before `start`."""
        for each in self._hosted.values():
            each.factory = factories

    def serve(self, targets: SystemTargets) -> None:
        """Offer the services to other silos."""
        for name in self._hosted:
            targets.serve(PREFIX + name, partial(self.answer, name))

    async def start(self) -> None:
        """Start the services in order. Raises StartupFailed with the name of the one that did not."""
        for each in self._hosted.values():
            await each.start()

    def on_view(self, _: View) -> None:
        """Have the services look at their ranges. Never waits."""
        for each in self._hosted.values():
            each.changed.set()

    async def answer(self, name: str, question: bytes) -> bytes:
        """Answer a call to a service of this silo."""
        hosted = self._hosted.get(name)
        if hosted is None:
            return _encode(ServiceAnswer(reason=Reason.NOT_HERE, text=f"this silo does not run the service {name!r}"))
        return _encode(await hosted.answer(_decode(question)))

    async def stop(self) -> None:
        """Stop the services in reverse order, each after its running calls."""
        for each in reversed(self._hosted.values()):
            await each.stop()

    async def kill(self) -> None:
        """End all without a hook."""
        for each in self._hosted.values():
            await each.kill()

    async def free(self) -> None:
        """Close what is still open of all. Call it when no call of a service runs."""
        for each in self._hosted.values():
            await each.free(SiloStopped(f"silo {each.silo} has ended"))


def _has(registry: Registry, parameter: Any) -> bool:
    return isinstance(parameter.kind, type) and parameter.kind in registry
