"""Constructor injection: reads the parameters of a grain's `__init__` and defines the contract of facets.

A facet (such as `PersistentState[T]`) belongs to one activation and is loaded before `on_activate`. Every other
parameter is a service, found by its type in the silo's `svcs` registry.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol, get_args, get_origin

import msgspec

from grange.errors import ConfigurationError
from grange.grains.generics import Unresolved, check_bound, constructor_hints
from grange.grains.interface import MethodSpec
from grange.grains.work import Work
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

    def give_up(self, why: str) -> None:
        """Store nothing any more, for this reason: what memory holds must not be stored, or a new activation begins."""
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


class ServiceContainer(Protocol):
    """The services of one activation: made when they are asked for, closed together. A container of svcs is one."""

    async def aget(self, service: Any, /) -> Any:
        """The service of this type."""
        ...

    async def aclose(self) -> None:
        """Close all services that were made."""
        ...

    async def __aexit__(self, kind: Any, error: Any, trace: Any, /) -> None:
        """Close them after an error, which those that are registered to see errors get."""
        ...


class Services(Protocol):
    """The services of one silo. `registry.py` has them from svcs, which a process without grains does not import."""

    def __contains__(self, kind: type, /) -> bool:
        """Whether a service of this type is registered."""
        ...

    def container(self) -> ServiceContainer:
        """A container for one activation."""
        ...


class FacetOwner(Protocol):
    """The activation for which facets are made."""

    @property
    def grain_id(self) -> GrainId:
        """The grain."""
        ...

    @property
    def activation_id(self) -> int:
        """Its number; the low 80 bits are random."""
        ...

    @property
    def is_single(self) -> bool:
        """Whether its grain has one activation in the cluster, so not if it is a stateless worker."""
        ...

    def check_turn(self) -> None:
        """Raise RuntimeError outside its turns."""
        ...


class FacetFactory(Protocol):
    """Makes facets of one type. The silo's start-up has one factory per facet type."""

    def check(
        self, owner: str, grain_type: str, parameters: Sequence[Parameter], methods: Sequence[MethodSpec]
    ) -> None:
        """Raise ConfigurationError for parameters that cannot be made. Called once for each class at the silo's start.

        `owner` is the name of the class. `parameters` are all those of its constructor, also of other types, and
        `methods` those that it has, of which some may be transactional.
        """
        ...

    async def begin(self, facets: Sequence[Facet]) -> Work:
        """Begin a unit of work of one turn on the facets of an activation. Raises StorageError."""
        ...

    def make(self, owner: FacetOwner, parameter: Parameter) -> Facet:
        """Make a facet of one activation."""
        ...


def constructor_parameters(cls: type) -> tuple[Parameter, ...]:
    """The parameters of `__init__`, with type variables bound. Raises ConfigurationError for one without a type."""
    # A Protocol has an `__init__` that only calls the next one.
    owners = (base for base in cls.__mro__ if "__init__" in vars(base) and not vars(base).get("_is_protocol"))
    owner = next(owners)
    init = vars(owner)["__init__"]
    if init is object.__init__:
        return ()
    try:
        hints = constructor_hints(cls, owner, init)
    except Unresolved as error:
        raise ConfigurationError(f"{cls.__name__}.__init__: an annotation cannot be resolved: {error}") from error
    parameters = list(inspect.signature(init).parameters.values())[1:]
    return tuple(_parameter(cls, parameter, hints) for parameter in parameters)


def check_buildable(cls: type) -> None:
    """Raise ConfigurationError for a class that a silo cannot build: abstract, or `__new__` needs arguments."""
    abstract = sorted(name for name in dir(cls) if _is_abstract(inspect.getattr_static(cls, name, None)))
    if abstract:
        raise ConfigurationError(
            f"grain class {cls.__name__} is abstract: it does not implement {', '.join(abstract)}; give the silo a "
            "class that does"
        )
    if hasattr(cls, "__struct_fields__"):
        raise ConfigurationError(f"grain class {cls.__name__} must not be a msgspec Struct; use a dataclass")
    new = inspect.getattr_static(cls, "__new__")
    if new is object.__new__:
        return
    try:
        inspect.signature(getattr(cls, "__new__")).bind(cls)  # noqa: B009
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{cls.__name__}.__new__ must be callable without arguments, because a silo calls __new__(cls) and then "
            f"__init__ with the arguments: {error}"
        ) from None


def _is_abstract(member: object) -> bool:
    return getattr(member, "__isabstractmethod__", False) is True


def _parameter(cls: type, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Parameter:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise ConfigurationError(f"{cls.__name__}.__init__: *{parameter.name} cannot be injected; name each parameter")
    if parameter.name not in hints:
        raise ConfigurationError(
            f"{cls.__name__}.__init__: {parameter.name!r} needs a type: PersistentState[...] or a service's class"
        )
    check_bound(hints[parameter.name], f"{cls.__name__}.__init__, {parameter.name!r}")
    kind, marks = hints[parameter.name], ()
    if get_origin(kind) is Annotated:
        kind, *metadata = get_args(kind)
        marks = tuple(metadata)
    return Parameter(parameter.name, kind, marks, parameter.default is parameter.empty)
