"""The author's part of a silo: grain classes, services, errors, placement, options. Checked before the start."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from grange.errors import ConfigurationError
from grange.grains.definition import interfaces_of, is_interface, spec_of, versions_of
from grange.grains.facets import check_buildable
from grange.grains.filters import Filter, as_filters
from grange.grains.grain import Grain
from grange.grains.service import SiloService, check_service
from grange.membership.model.member import Implementations
from grange.observability.telemetry import Telemetry
from grange.placement.custom import as_strategy
from grange.placement.filters import builtin_strategies
from grange.placement.provider import PlacementStrategy
from grange.security.known import KnownSecrets
from grange.security.policy import Authorize, Requirements
from grange.security.secrets import Secrets
from grange.silo.config import SiloConfig
from grange.silo.identities import Authenticate, IdentityRules
from grange.silo.own_code import Work
from grange.silo.services import Services


def as_classes(grains: Iterable[type[Grain[Any]]]) -> tuple[type[Grain[Any]], ...]:
    """The argument `grains=` of `Silo`, each class once. Raises ConfigurationError for all but a list of classes."""
    if isinstance(grains, type):
        raise ConfigurationError(f"grains= is a list of classes, not one class: grains=[{grains.__name__}]")
    given = _items("grains", grains, (type, Grain), "classes")
    return cast("tuple[type[Grain[Any]], ...]", tuple(dict.fromkeys(given)))


def as_errors(errors: Iterable[type[Exception]]) -> tuple[type[Exception], ...]:
    """Normalise the argument `errors=` of `Silo`. Raises ConfigurationError for anything but exception classes."""
    given = _items("errors", errors, type, "exception classes")
    for each in given:
        if not issubclass(each, Exception):
            raise ConfigurationError(f"errors= is a list of exception classes; {each.__name__} is none")
    return given


def as_strategies(placement: Iterable[PlacementStrategy]) -> tuple[PlacementStrategy, ...]:
    """Normalise the argument `placement=` of `Silo`. Raises ConfigurationError for an item that has no name."""
    given = _items("placement", placement, object, "placement strategies")
    strategies = tuple(as_strategy(each, "placement= is a list of strategies; each item") for each in given)
    names = [each.name for each in strategies]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two placement strategies are named {name!r}; give one another name")
    return strategies


def strategies_of(
    grains: Iterable[type[Grain[Any]]], placement: Iterable[PlacementStrategy]
) -> dict[str, PlacementStrategy]:
    """All strategies of a silo by name: the built-in ones, those of its classes, and those of `placement=`.

    Raises ConfigurationError for two different strategies of one name.
    """
    known = builtin_strategies()
    owners = dict.fromkeys(known, "a built-in strategy")
    given = [(each, "placement= of the silo") for each in placement]
    for cls in grains:
        strategy = spec_of(cls).options.strategy
        given += [] if strategy is None else [(strategy, f"grain class {cls.__name__}")]
    for strategy, owner in given:
        other = known.setdefault(strategy.name, strategy)
        if other != strategy:
            raise ConfigurationError(
                f"two placement strategies are named {strategy.name!r}: of {owners[strategy.name]}, and of {owner}; "
                "give one another name"
            )
        owners.setdefault(strategy.name, owner)
    return known


def as_silo_services(silo_services: Iterable[type[SiloService]]) -> tuple[type[SiloService], ...]:
    """Normalise `silo_services=` of `Silo`, each class once. Raises ConfigurationError for two with one name."""
    given = dict.fromkeys(_items("silo_services", silo_services, type, "classes derived from SiloService"))
    names: dict[str, type] = {}
    for each in given:
        _check_name(names, spec_of(check_service(each)).name, each, "by which callers find it")
    return tuple(given)


def _items(argument: str, given: Any, kind: Any, meant: str) -> tuple[Any, ...]:
    """The items of a list that Silo takes. Raises ConfigurationError for no list, or an item of another kind."""
    if not hasattr(given, "__iter__") or isinstance(given, str | bytes):
        raise ConfigurationError(f"{argument}= is a list of {meant}, not {given!r:.100}")
    items: tuple[Any, ...] = tuple(given)
    for item in items:
        if not isinstance(item, kind):
            raise ConfigurationError(f"{argument}= is a list of {meant}; {item!r:.100} is none")
    return items


class SiloFilters(msgspec.Struct, frozen=True, eq=False):
    """The filters of a silo, in order."""

    incoming: tuple[Filter, ...] = ()
    outgoing: tuple[Filter, ...] = ()


def as_authorize(function: object) -> Authorize | None:
    """The argument `authorize=` of `Silo`. Raises ConfigurationError for anything but a plain function of two."""
    if function is None:
        return None
    called = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004
    problem = "is none"
    if callable(function) and not inspect.iscoroutinefunction(called):
        try:
            inspect.signature(function).bind("identity", "call")
            return cast("Authorize", function)
        except (TypeError, ValueError) as error:
            problem = str(error)
    raise ConfigurationError(
        f"authorize= is a plain function, not async, of an identity (or None) and a CallFacts; {function!r:.100}: "
        f"{problem}"
    )


def as_silo_filters(incoming: Iterable[Filter], outgoing: Iterable[Filter]) -> SiloFilters:
    """The filters of a silo. Raises ConfigurationError for anything but lists of filters."""
    return SiloFilters(as_filters("incoming_filters", incoming), as_filters("outgoing_filters", outgoing))


class SiloDefinition(msgspec.Struct, frozen=True, eq=False):
    """The author's part of a silo. `strategies` has all placement strategies by name, including the built-in ones.

    `silo` is the object that start-up tasks and background services get.
    """

    grains: tuple[type[Grain[Any]], ...]
    config: SiloConfig
    services: Services
    errors: tuple[type[Exception], ...]
    strategies: Mapping[str, PlacementStrategy]
    telemetry: Telemetry | None = None
    silo: object = None
    silo_services: tuple[type[SiloService], ...] = ()
    startup: tuple[Work, ...] = ()
    background: tuple[Work, ...] = ()
    filters: SiloFilters = SiloFilters()
    authorize: Authorize | None = None
    authenticate: Authenticate | None = None
    known_secrets: KnownSecrets | None = None
    """What keeps the secrets of this silo out of the logs of its process."""
    secrets: Secrets | None = None
    """What reads the secrets of the options; None before the start."""

    def identity_rules(self) -> IdentityRules:
        """What this silo says of identities. Calls carry them if there is a source of them: tokens alone are none."""
        config = self.config
        return IdentityRules(
            carried=bool(self.authenticate or config.roles or config.tls or self.restricts),
            roles=config.roles,
            speakers=frozenset(config.tls.get("speaks_for", ())),
            authenticate=self.authenticate,
        )

    def check(self) -> None:
        """Raise ConfigurationError for classes that a silo cannot host.

        Two classes or interfaces with one name, an interface, an abstract class, an unknown placement; and for a silo
        without classes.
        """
        if not self.grains:
            raise ConfigurationError("a silo needs at least one grain class: Silo(grains=[...])")
        if self.config.authorization == "audit" and not self.restricts:
            raise self.config.wrong(
                ("authorization",),
                "audit has no effect without [[allow]], authorize= or @requires; add one, or remove it",
            )
        names: dict[str, type] = {}
        interfaces: dict[str, type] = {}
        for cls in self.grains:
            options = spec_of(cls).options
            if is_interface(cls):
                raise ConfigurationError(
                    f"{cls.__name__} is an interface; give the silo a grain class that implements it"
                )
            check_buildable(cls)
            _check_name(names, options.name, cls, "its identity in storage")
            for interface, name in interfaces_of(cls).items():
                _check_name(interfaces, name, interface, "by which callers find its grains")
            if options.strategy is None and options.placement not in self.strategies:
                known = ", ".join(sorted(self.strategies))
                raise ConfigurationError(
                    f"grain class {cls.__name__}: there is no placement {options.placement!r}; known are {known}"
                )

    def requirements(self) -> Requirements:
        """What callers need, by grain type and method, for those that need something."""
        found: dict[tuple[str, str], tuple[tuple[str, ...], ...]] = {}
        for cls in self.grains:
            spec = spec_of(cls)
            for name, method in spec.methods.items():
                if needs := (*spec.options.requires, *method.options.requires):
                    found[spec.name, name] = tuple(dict.fromkeys(needs))
        return found

    def methods(self) -> dict[str, tuple[str, ...]]:
        """The methods that callers can name, by grain type."""
        return {spec_of(cls).name: tuple(sorted(spec_of(cls).methods)) for cls in self.grains}

    @property
    def restricts(self) -> bool:
        """Whether anything restricts who may call what."""
        return bool(self.config.allow or self.authorize is not None or self.requirements())

    def placements(self) -> dict[str, str]:
        """The grain types for the membership table, each with its placement."""
        options = [spec_of(cls).options for cls in self.grains]
        return {each.name: "stateless_worker" if each.stateless_workers else each.placement for each in options}

    def versions(self) -> dict[str, dict[str, int]]:
        """The versions of each grain type's interfaces for the membership table, without types that have none."""
        found = {spec_of(cls).name: versions_of(cls) for cls in self.grains}
        return {name: versions for name, versions in found.items() if versions}

    def interfaces(self) -> dict[str, Implementations]:
        """The interfaces for the membership table, each with the grain types that implement it.

        Raises ConfigurationError for an interface with two default implementations.
        """
        declared: dict[str, Implementations] = {}
        for cls in self.grains:
            options = spec_of(cls).options
            for interface in interfaces_of(cls).values():
                known = declared.get(interface, Implementations(()))
                if options.default and known.default is not None:
                    raise ConfigurationError(
                        f"{known.default!r} and {options.name!r} are both default=True for the interface {interface!r}"
                    )
                default = options.name if options.default else known.default
                declared[interface] = Implementations((*known.types, options.name), default)
        return declared


def _check_name(names: dict[str, type], name: str, cls: type, meaning: str) -> None:
    """Add a name. Raises ConfigurationError if another class has it."""
    other = names.setdefault(name, cls)
    if other is not cls:
        raise ConfigurationError(
            f"{other.__module__}.{other.__qualname__} and {cls.__module__}.{cls.__qualname__} are both named "
            f"{name!r}; give one another name=, which is {meaning}"
        )
