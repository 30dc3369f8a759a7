"""One grain class as a silo hosts it: its method plans, its options with defaults, and how to build an instance."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any, cast

import msgspec

from grange.aio.interrupts import is_ctrl_c
from grange.counted import counted
from grange.errors import ConfigurationError, InvalidCall
from grange.grains.carried import carried_type
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.grains.definition import spec_of, versions_of
from grange.grains.facets import (
    Facet,
    FacetFactory,
    FacetOwner,
    Parameter,
    ServiceContainer,
    Services,
    constructor_parameters,
)
from grange.grains.filters import Filter
from grange.grains.grain import Grain
from grange.grains.items import HIDDEN
from grange.grains.options import GrainOptions
from grange.grains.tick import DELIVERED, HOOK, taken_method
from grange.grains.work import Work
from grange.observability.counters import TypeFigures
from grange.placement.versions import VersionPolicy
from grange.proto.identity import grain_principal
from grange.proto.message import Reason
from grange.proto.values import TypedCodec, ValueCodec
from grange.proto.versions import by_number, parts_of
from grange.proto.waits import Detects
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.call_rates import MethodRates
from grange.runtime.requests.filtering import IncomingFilters
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.plan import MethodPlan, Plans
from grange.runtime.requests.refusal import Refused

Predicate = Callable[[Any, str, tuple[Any, ...]], bool]
"""(grain, method, arguments) -> whether this request may interleave."""

MAX_CAUSES = 100
"""Most errors searched behind one that left a turn."""


class SiloRules(msgspec.Struct, frozen=True, eq=False):
    """What a silo says of all its grain classes: `defaults` for their options, versions of interfaces, and filters.

    `identified`: calls carry identities.
    """

    defaults: RuntimeOptions
    versions: VersionPolicy = msgspec.field(default_factory=VersionPolicy)
    filters: tuple[Filter, ...] = ()
    identified: bool = False


class HostedType:
    """A grain class in one silo. Made at start-up, so that an error in a class stops the start.

    `versions` are those of its interfaces, by the number of the interface, and `policy` the silo's rules for them.
    `live` is the number of its activations in this silo, in any phase: a silo may hold too many to count at once.
    `memory` is the codec of what an activation carries when it moves; None without `dehydrate`. `principal` is the
    identity of what its grains do for no caller; empty: calls carry none.
    """

    __slots__ = (
        "_facets", "_parameters", "_policy", "_services", "cls", "detects", "figures", "filters", "has_on_activate",
        "has_on_deactivate", "idle_reason", "idle_timeout", "interleaves", "live", "mailbox_limit", "memory", "options",
        "plain", "plans", "principal", "rates", "streams", "versions", "waits_for_nothing",
    )  # fmt: skip

    def __init__(
        self,
        cls: type[Grain[Any]],
        plans: Plans,
        facets: Mapping[Any, FacetFactory],
        services: Services,
        rules: SiloRules,
    ) -> None:
        spec, defaults = spec_of(cls), rules.defaults
        self.versions, self._policy = by_number(versions_of(cls)), rules.versions
        self.cls = cls
        self.options: GrainOptions = spec.options
        self.plans: dict[str, MethodPlan] = plans.of_interface(spec) | _hook_plans(cls, plans)
        self.streams = any(spec.hidden)
        self.filters = IncomingFilters(rules.filters, cls, _without(self.plans, HIDDEN))
        self.idle_timeout = math.inf if self.options.keep_alive else self.options.idle_timeout or defaults.idle_timeout
        self.detects = Detects(self.options.detect_deadlocks or defaults.detect_deadlocks)
        self.idle_reason = DeactivationReason(DeactivationCode.IDLE, f"idle for {self.idle_timeout:g} s")
        self.mailbox_limit = self.options.mailbox_limit or defaults.mailbox_limit
        self.interleaves = _predicate(self.options)
        self.rates = _rates(self.plans)
        # The methods whose requests start without a look at them: no predicate, no rate, and clients may send them.
        self.plain = {} if self.interleaves is not None else _without(self.plans, HOOK, self.rates)
        self.has_on_activate = cls.on_activate is not Grain.on_activate
        self.has_on_deactivate = cls.on_deactivate is not Grain.on_deactivate
        self.memory = _memory_codec(cls, plans.codec)
        self.principal = grain_principal(self.options.name) if rules.identified else b""
        self._facets, self._services = facets, services
        self.live = 0
        placement = "stateless_workers" if self.options.stateless_workers else self.options.placement
        self.figures = TypeFigures(self.options.name, placement, (plan.figures for plan in self.plans.values()))
        # A parameter with a default and no provider keeps its default.
        parameters = constructor_parameters(cls)
        self._parameters = tuple(
            parameter for parameter in parameters if parameter.required or self._is_provided(parameter)
        )
        # Whether its instances are ready once they are constructed: no services, facets or `on_activate`.
        self.waits_for_nothing = not self._parameters and not self.has_on_activate
        self._check(parameters)

    @property
    def name(self) -> str:
        """The grain type."""
        return self.options.name

    @property
    def methods(self) -> dict[str, MethodPlan]:
        """The plans of the methods that a caller can name, sorted by name."""
        found = _without(_without(self.plans, HIDDEN), HOOK)
        return {name: found[name] for name in sorted(found)}

    @property
    def has_facets(self) -> bool:
        """Whether its instances have facets, such as state that outlives an activation."""
        return any(parameter.origin in self._facets for parameter in self._parameters)

    def serves(self, wanted: int) -> bool:
        """Whether it serves a caller that needs this version of an interface (`Request.interface_version`)."""
        number, version = parts_of(wanted)
        interface, own = self.versions.get(number, ("", 0))
        return own == version or self._policy.of(interface).serves(version, own)

    def ask_predicate(self, grain: Any, call: Invocation) -> bool:
        """Have `may_interleave` look at a request. False: it failed and the request was refused."""
        plan = self.plans.get(call.method)
        if self.interleaves is None or plan is None:
            return True
        try:
            call.interleaves = self.interleaves(grain, plan.name, call.arguments(plan))
        except InvalidCall as error:
            call.refuse(Refused(Reason.INVALID_CALL, str(error)))
            return False
        except BaseException as error:  # this runs in the task that delivers requests, which must not end
            text = f"may_interleave raised {type(error).__qualname__}"
            call.refuse(Refused(Reason.INVALID_CALL, text, cause=error if isinstance(error, Exception) else None))
            if is_ctrl_c(error):
                raise
            return False
        return True

    def is_within_rates(self, call: Invocation, now: float) -> bool:
        """Count a request in the rates of its method, once. False: it exceeds one and was refused."""
        rates = self.rates.get(call.method)
        if rates is None or call.rated:
            return True
        wait, rate = rates.admit(call.grain_id, call.context, now)
        if wait:
            text = (
                f"{call.method} takes {counted(rate.calls, 'call')} in {rate.seconds:g} s; the next one in {wait:g} s"
            )
            call.refuse(Refused(Reason.OVERLOADED, text, retry_after=wait, counted="rate_limited"))
        call.rated = not wait
        return call.rated

    def build_now(self, context: Any) -> Built:
        """Build an instance whose class `waits_for_nothing`. Raises any error of the constructor."""
        built = self._new(context)
        built.grain.__init__()  # type: ignore[misc]
        return built

    async def build(self, context: FacetOwner) -> Built:
        """Build an instance with all its constructor parameters. Its facets are not loaded yet.

        Raises any error of a service factory or of the constructor.
        """
        built = self._new(context)
        arguments: dict[str, Any] = {}
        try:
            for parameter in self._parameters:
                arguments[parameter.name] = await self._argument(built, parameter, context)
            built.grain.__init__(**arguments)  # type: ignore[misc]
        except BaseException:
            await built.close()
            raise
        return built

    async def begin_work(self, built: Built) -> Work:
        """Begin a unit of work on the facets of an instance."""
        factory = next(factory for kind, factory in self._facets.items() if self._makes(kind))
        return await factory.begin(built.facets)

    def _makes(self, kind: Any) -> bool:
        return any(parameter.origin is kind for parameter in self._parameters)

    def _new(self, context: Any) -> Built:
        built = Built(self.cls.__new__(self.cls))
        object.__setattr__(built.grain, "_grange", context)  # a frozen dataclass refuses plain assignment
        return built

    async def _argument(self, built: Built, parameter: Parameter, owner: FacetOwner) -> Any:
        factory = self._facets.get(parameter.origin)
        if factory is not None:
            facet = factory.make(owner, parameter)
            built.facets = (*built.facets, facet)
            return facet
        if built.services is None:
            built.services = self._services.container()
        return await built.services.aget(parameter.kind)

    def _check(self, parameters: Sequence[Parameter]) -> None:
        methods = [plan.method for plan in self.methods.values()]
        for factory in self._facets.values():
            factory.check(self.cls.__name__, self.name, parameters, methods)
        whole = next((method for method in methods if method.options.transactional), None)
        if whole is not None and not self.has_facets:
            raise ConfigurationError(
                f"{whole.owner}.{whole.name}: {whole.options} has no effect, because {self.cls.__name__} has no state; "
                f"give it a PersistentState, or remove the decorator"
            )
        for parameter in self._parameters:
            if not self._is_provided(parameter):
                raise ConfigurationError(
                    f"{self.cls.__name__}.__init__: nothing is registered for {parameter.name!r} ({parameter.kind!r}); "
                    "register it in the svcs.Registry given to the silo as services="
                )

    def _is_provided(self, parameter: Parameter) -> bool:
        is_service = isinstance(parameter.kind, type) and parameter.kind in self._services
        return is_service or parameter.origin in self._facets


class Built:
    """A grain instance with its facets and its services."""

    __slots__ = ("facets", "grain", "services")

    def __init__(self, grain: Grain[Any]) -> None:
        self.grain = grain
        self.facets: tuple[Facet, ...] = ()
        self.services: ServiceContainer | None = None

    async def load(self) -> None:
        """Load all facets, one after another."""
        for facet in self.facets:
            await facet.load()

    @property
    def unsaved(self) -> bool:
        """Whether memory may hold changes that are not stored."""
        return any(facet.unsaved for facet in self.facets)

    def lost_changes(self, error: BaseException) -> bool:
        """Whether this error came from a facet's operation, which stored nothing; also if another error wraps it."""
        return bool(self.facets) and any(
            facet.lost_changes(each) for each in _with_causes(error) for facet in self.facets
        )

    def give_up(self, why: str) -> None:
        """Have the facets store nothing any more, for this reason."""
        for facet in self.facets:
            facet.give_up(why)

    async def free(self, error: Exception) -> None:
        """Close the services of a killed activation. Those registered to see errors get `error`, and do not commit."""
        if self.services is not None:
            await self.services.__aexit__(type(error), error, None)

    async def close(self) -> None:
        """Close the facets, then the services. Closes all of them even if one fails, then raises the first error."""
        closers: list[Callable[[], Awaitable[None]]] = [facet.close for facet in self.facets]
        if self.services is not None:
            # svcs stops at an error that is no Exception, such as SystemExit; the second call closes the rest.
            closers += [self.services.aclose, self.services.aclose]
        errors: list[BaseException] = []
        for close in closers:
            try:
                await close()
            except BaseException as error:  # also of a service that calls `sys.exit`
                errors.append(error)
        if errors:
            raise errors[0]


def _with_causes(error: BaseException) -> list[BaseException]:
    """The error, and all errors that it wraps: causes, contexts, and members of groups."""
    found = [error]
    for each in found:  # grows while it is read
        inside: list[BaseException | None] = [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            inside += cast("BaseExceptionGroup[BaseException]", each).exceptions
        for inner in inside:
            if inner is not None and len(found) < MAX_CAUSES and not any(inner is other for other in found):
                found.append(inner)
    return found


def _memory_codec(cls: type, codec: ValueCodec) -> TypedCodec | None:
    """The codec of what an activation carries when it moves. Raises ConfigurationError for a type that has none."""
    kind = carried_type(cls)
    if kind is None:
        return None
    codec.check(kind, f"{cls.__name__}.dehydrate")
    return codec.of(kind)


def _hook_plans(cls: type[Grain[Any]], plans: Plans) -> dict[str, MethodPlan]:
    """The plans of the hidden methods that deliver reminders and jobs."""
    name = spec_of(cls).name
    return {DELIVERED[hook]: plans[taken_method(name, hook)] for hook in DELIVERED if hasattr(cls, hook)}


def _without(plans: Mapping[str, MethodPlan], first: str, others: Container[str] = ()) -> dict[str, MethodPlan]:
    """The plans without those whose names begin so, and without these others."""
    return {name: plan for name, plan in plans.items() if not name.startswith(first) and name not in others}


def _rates(plans: Mapping[str, MethodPlan]) -> dict[str, MethodRates]:
    return {name: MethodRates(rates) for name, plan in plans.items() if (rates := plan.method.options.rates)}


def _predicate(options: GrainOptions) -> Predicate | None:
    """The class's interleave predicate as a function; `may_interleave=` is a function or the name of a method."""
    given = options.may_interleave
    if given is None:
        return None
    if isinstance(given, str):
        return lambda grain, method, args: bool(getattr(grain, given)(method, args))
    return lambda _grain, method, args: bool(given(method, args))
