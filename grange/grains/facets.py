"""Constructor injection: reads the parameters of a grain's `__init__` and defines the contract of facets.

A facet (such as `PersistentState[T]`) belongs to one activation and is loaded before `on_activate`. Every other
parameter is a service, found by its type in the silo's `svcs` registry.
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
        """Load it. Called once, before `on_activate`. The waiting callers get the error that it raises."""
        ...

    async def close(self) -> None:
        """Free its resources. Called once, after `on_deactivate`."""
        ...

    @property
    def unsaved(self) -> bool:
        """Whether memory may hold changes that are not stored, because its last operation failed."""
        ...

    def lost_changes(self, error: BaseException) -> bool:
        """Whether `error`, which left a turn, came from an operation of this facet and left it `unsaved`."""
        ...

    def give_up(self) -> None:
        """Store nothing any more: the activation ends, because an error with `lost_changes` left a turn."""
        ...


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a grain's `__init__`: its name, its type, and the metadata of `Annotated[...]`."""

    name: str
    kind: Any
    marks: tuple[Any, ...] = ()
    required: bool = True

    @property
    def origin(self) -> Any:
        """The class behind a generic type: `PersistentState` for `PersistentState[CartState]`."""
        return get_origin(self.kind) or self.kind


class FacetFactory(Protocol):
    """Makes facets of one type. The silo's start-up has one factory per facet type."""

    def check(self, owner: str, parameter: Parameter) -> None:
        """Raise ConfigurationError for a parameter that cannot be made. Called when the silo starts."""
        ...

    def make(self, grain_id: GrainId, parameter: Parameter, guard: Callable[[], None]) -> Facet:
        """Make a facet of one activation. `guard` raises RuntimeError outside the turns of that activation."""
        ...


def constructor_parameters(cls: type) -> tuple[Parameter, ...]:
    """The parameters of `__init__`. Raises ConfigurationError for a parameter without a type."""
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
        kind, *metadata = get_args(kind)
        marks = tuple(metadata)
    return Parameter(parameter.name, kind, marks, parameter.default is parameter.empty)
