"""Constructor injection: what a grain's `__init__` asks for, and where it comes from.

A facet (such as `PersistentState[T]`) belongs to one activation and is loaded before `on_activate`; everything else is
a service, found by its type in the silo's `svcs` registry.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints

import msgspec

from grange.errors import ConfigurationError
from grange.proto.ids import GrainId


class Facet(Protocol):
    """A part of a grain that the runtime loads and closes with the activation."""

    async def load(self) -> None:
        """Called once, before `on_activate`. What it raises reaches the callers that wait."""
        ...

    async def close(self) -> None:
        """Called once, after `on_deactivate`."""
        ...


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a grain's `__init__`: its name, its type, and the marks of `Annotated[...]`."""

    name: str
    kind: Any
    marks: tuple[Any, ...] = ()
    required: bool = True

    @property
    def origin(self) -> Any:
        """The class behind a generic type: `PersistentState` for `PersistentState[CartState]`."""
        return get_origin(self.kind) or self.kind


class FacetFactory(Protocol):
    """Makes facets of one kind; the silo's start-up has one per facet type."""

    def check(self, owner: str, parameter: Parameter) -> None:
        """Refuse a parameter that can never be served. Called when the silo starts. Raises ConfigurationError."""
        ...

    def make(self, grain_id: GrainId, parameter: Parameter, guard: Callable[[], None]) -> Facet:
        """A facet for one activation. `guard` raises RuntimeError when called outside that activation's turns."""
        ...


def constructor_parameters(cls: type) -> tuple[Parameter, ...]:
    """What `__init__` asks for. Raises ConfigurationError for a parameter that names no type."""
    init = inspect.getattr_static(cls, "__init__")
    if init is object.__init__:
        return ()
    try:
        hints = get_type_hints(init, include_extras=True)
    except NameError as error:
        raise ConfigurationError(f"{cls.__name__}.__init__: an annotation cannot be resolved: {error}") from error
    parameters = list(inspect.signature(init).parameters.values())[1:]
    return tuple(_parameter(cls, parameter, hints) for parameter in parameters)


def _parameter(cls: type, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Parameter:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise ConfigurationError(f"{cls.__name__}.__init__: *{parameter.name} cannot be injected; name each parameter")
    if parameter.name not in hints:
        raise ConfigurationError(
            f"{cls.__name__}.__init__: {parameter.name!r} needs a type: PersistentState[...] or a service's class"
        )
    kind, marks = hints[parameter.name], ()
    if get_origin(kind) is Annotated:
        kind, *rest = get_args(kind)
        marks = tuple(rest)
    return Parameter(parameter.name, kind, marks, parameter.default is parameter.empty)
