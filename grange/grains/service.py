"""SiloService, the base class of services of which every silo runs one object.

Such services own parts of the hash ring together: a call for a key reaches the silo whose range has the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypedDict, TypeVar, Unpack, cast

import msgspec

from grange.errors import ConfigurationError
from grange.grains.decorators import NO_OPTIONS
from grange.grains.definition import Addressable, Definition, define, spec_of
from grange.grains.hooks import HOOKS, Hooks
from grange.grains.interface import DEFINITION, Declared
from grange.proto.keys import Key

S = TypeVar("S", bound="SiloService")
G = TypeVar("G", bound=Addressable)

SERVICE_HOOKS: Hooks = {"on_start": (), "on_ranges": (), "on_stop": ()}
"""Methods of a silo service that only the silo calls."""


class ServiceKeywords(TypedDict, total=False):
    """The class keywords of a silo service."""

    name: str
    key: object
    errors: Sequence[type[Exception]]


class GetsServices(Protocol):
    """Makes references to silo services; `silo/service_calls.py` implements it."""

    def __call__(self, service: type[S], key: Key) -> S:
        """A reference to the object of this service that owns the key."""
        ...


class ServiceContext(Protocol):
    """The interface of a silo to a service of it; `silo/hosted_services.py` implements it."""

    @property
    def silo(self) -> str:
        """The name of the silo."""
        ...

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges that this silo owns now."""
        ...

    def owns(self, kind: type[Addressable], key: Key) -> bool:
        """Whether this silo owns the key."""
        ...

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """As `GrainFactory.get_grain`."""
        ...

    def get_service(self, service: type[S], key: Key) -> S:
        """As `SiloService.get_service`."""
        ...


class SiloService(Addressable):
    """A service with one object in every silo that has the class in `silo_services=`.

    Write public `async def` methods; callers reach them by `get_service(Class, key)`, of a grain, a silo or another
    service. The silo whose range of the hash ring has the key answers. Requests interleave at every await. The
    parameters of `__init__` are injected by type from `services=` of the silo.

    `ranges` are half-open pairs of 64-bit hashes. While a silo joins or leaves, two silos may each own a range in their
    own view for a moment, so a service must not rely on being the only one that acts.
    """

    __slots__ = ("_grange",)
    _grange: ServiceContext

    def __init_subclass__(cls, **keywords: Unpack[ServiceKeywords]) -> None:
        super().__init_subclass__()
        unknown = keywords.keys() - ServiceKeywords.__annotations__.keys()
        if given := ", ".join(f"{name}=" for name in sorted(unknown)):
            raise ConfigurationError(
                f"silo service {cls.__name__}: {given} has no effect on a silo service; it has errors=, key=, name="
            )
        define(cls, {"key": str, **keywords}, _BASE_NAMES, is_interface=False, hooks=SERVICE_HOOKS)
        for name, method in cast("Definition", cls.__dict__[DEFINITION]).methods.items():
            _check(f"{cls.__name__}.{name}", method)
        if hooks := ", ".join(sorted(HOOKS.keys() & vars(cls).keys())):
            raise ConfigurationError(
                f"{cls.__name__}: {hooks} is a hook of grains; those of a silo service are {', '.join(SERVICE_HOOKS)}"
            )

    @property
    def silo(self) -> str:
        """The name of the silo that runs this object."""
        return self._context.silo

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges of the hash ring that this silo owns now, ascending; empty once it leaves."""
        return self._context.ranges

    def owns(self, key: Key) -> bool:
        """Whether this silo owns this key now. Raises TypeError for a key of another kind."""
        return self._context.owns(type(self), key)

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to a grain (see `GrainFactory.get_grain`)."""
        return self._context.get_grain(grain, key, implementation=implementation)

    def get_service(self, service: type[S], key: Key) -> S:
        """A reference to the object of a silo service that owns this key, typed as its class. Does no I/O."""
        return self._context.get_service(service, key)

    async def on_start(self) -> None:
        """Called once, when the silo is active and before its start-up tasks. An error stops the start."""

    async def on_ranges(self) -> None:
        """Called after `on_start` and each change of `ranges`; several changes may be one call. Errors are logged."""

    async def on_stop(self) -> None:
        """Called once at a planned stop, after the grains of this silo have ended. Errors are logged."""

    @property
    def _context(self) -> ServiceContext:
        try:
            return self._grange
        except AttributeError:
            raise RuntimeError(
                f"this {type(self).__name__} was built outside a silo; give the class to a silo as silo_services="
            ) from None


_BASE_NAMES = frozenset(dir(SiloService))


def _check(place: str, method: Declared) -> None:
    if method.streams:
        raise ConfigurationError(f"{place}: a silo service streams no results; return a list, or stream from a grain")
    options = msgspec.structs.replace(method.options, timeout=None)
    if options != NO_OPTIONS:
        raise ConfigurationError(
            f"{place}: {options} has no effect on a silo service, whose requests always interleave and are answered; "
            "remove it (@response_timeout has one)"
        )


def check_service(service: object) -> type[SiloService]:
    """The class, if it is one of a silo service. Raises ConfigurationError for anything else."""
    if not (isinstance(service, type) and issubclass(service, SiloService) and service is not SiloService):
        raise ConfigurationError(f"{service!r:.100} is not a class derived from SiloService")
    spec_of(service)  # resolves the annotations
    return service
