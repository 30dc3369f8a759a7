"""Checks a grain class or interface when it is defined, and describes it for callers and the runtime.

`__init_subclass__` of `Grain` and `GrainInterface` calls `define`; the definition is kept on the class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args, get_origin

import msgspec

from grange.errors import ConfigurationError
from grange.grains.interface import HOOKS, InterfaceSpec, outline, read_interface
from grange.grains.options import GrainKeywords, GrainOptions, check, snake_case
from grange.proto.keys import KeyKind, key_kind

_DEFINITION = "__grange_definition__"
_SPEC = "__grange_spec__"


class Addressable:
    """Base of the classes that a reference can refer to: grain classes and interfaces."""

    __slots__ = ()


class Definition(msgspec.Struct, frozen=True, eq=False):
    """A class as defined: its options and its public async methods. Annotations are not resolved yet."""

    options: GrainOptions
    functions: dict[str, Callable[..., Any]]
    is_interface: bool


def define(cls: type[Addressable], keywords: GrainKeywords, base_names: frozenset[str], is_interface: bool) -> None:
    """Check a new class and keep its definition on it. Raises ConfigurationError with the class and the remedy."""
    unknown = set(keywords) - GrainKeywords.__annotations__.keys()
    if unknown:
        raise ConfigurationError(
            f"grain class {cls.__name__}: unknown option {', '.join(sorted(unknown))}; "
            f"known are {', '.join(sorted(GrainKeywords.__annotations__))}"
        )
    taken = sorted(name for name in vars(cls).keys() & base_names if not name.startswith("_") and name not in HOOKS)
    if taken:
        raise ConfigurationError(f"grain class {cls.__name__}: {', '.join(taken)} is a name of Grain; choose another")
    values: dict[str, Any] = dict(keywords)
    values.setdefault("name", snake_case(cls.__name__))
    values["key"] = _key_kind(cls, values.get("key"))
    errors = values.get("errors", ())
    values["errors"] = (errors,) if isinstance(errors, type) else tuple(errors)
    options = check(cls.__name__, GrainOptions(**values))
    definition = Definition(options, outline(cls, base_names), is_interface)
    setattr(cls, _DEFINITION, definition)
    if not is_interface:
        _check_implemented(cls, definition)


def spec_of(cls: type[Addressable]) -> InterfaceSpec:
    """The specification of a class for callers and the runtime, made at first use and kept on the class."""
    if isinstance(cls, Addressable):
        raise ConfigurationError(f"{type(cls).__name__}() is an object; give the class itself: {type(cls).__name__}")
    spec = cls.__dict__.get(_SPEC)
    if spec is None:
        definition = cls.__dict__.get(_DEFINITION)
        if not isinstance(cast("object", cls), type):
            raise ConfigurationError(f"{cls!r} is not a class; derive a class from it: class Closed({cls!r})")
        if definition is None:
            raise ConfigurationError(
                f"{cls.__name__} is not a grain class or interface that you defined; derive from Grain"
            )
        spec = read_interface(cls, definition.options, definition.functions)
        setattr(cls, _SPEC, spec)
    return cast("InterfaceSpec", spec)


def interfaces_of(cls: type[Addressable]) -> tuple[str, ...]:
    """The names of the interfaces that a grain class implements."""
    return tuple(base.options.name for base in _definitions(cls) if base.is_interface)


def is_interface(cls: type[Addressable]) -> bool:
    """Whether a class is an interface. A reference to it needs a grain type that implements it."""
    definition = cls.__dict__.get(_DEFINITION)
    return definition is not None and definition.is_interface


def _definitions(cls: type) -> list[Definition]:
    return [base.__dict__[_DEFINITION] for base in cls.__mro__ if _DEFINITION in base.__dict__]


def _key_kind(cls: type, given: object) -> KeyKind:
    """The kind of key: from `key=` or `Grain[...]`, else from the bases, else str."""
    declared = [
        args[0]
        for base in cls.__dict__.get("__orig_bases__", ())
        if (args := get_args(base)) and _is_keyed_base(get_origin(base)) and not hasattr(args[0], "__bound__")
    ]
    kinds = {key_kind(kind) for kind in ([] if given is None else [given]) + declared}
    kinds = kinds or {base.options.key for base in _definitions(cls) if base.options.key is not str}
    if len(kinds) > 1:
        raise ConfigurationError(f"grain class {cls.__name__}: key=, Grain[...] and its bases name different keys")
    return kinds.pop() if kinds else str


def _is_keyed_base(origin: Any) -> bool:
    """Whether `origin` is Grain itself, whose parameter is the key: the only addressable base without a definition."""
    return isinstance(origin, type) and issubclass(origin, Addressable) and _DEFINITION not in origin.__dict__


def _check_implemented(cls: type, definition: Definition) -> None:
    """Check that the grain class overrides each method of its interfaces; calls would return None otherwise."""
    for base in _definitions(cls)[1:]:
        missing = [name for name, function in base.functions.items() if definition.functions.get(name) is function]
        if base.is_interface and missing:
            raise ConfigurationError(
                f"grain class {cls.__name__} does not implement {', '.join(missing)} of {base.options.name!r}"
            )
