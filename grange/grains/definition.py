"""Checks a grain class or interface when it is defined, and describes it for callers and the runtime.

`__init_subclass__` of `Grain` and `GrainInterface` calls `define`; the definition is kept on the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast, get_origin

import msgspec

from grange.errors import ConfigurationError
from grange.grains.contract import Overridden, check_shapes, check_types
from grange.grains.generics import Unresolved, bindings
from grange.grains.hooks import DELIVERED_HOOKS, HOOKS, Hooks, check_members
from grange.grains.interface import DEFINITION, Declared, InterfaceSpec, outline, read_interface
from grange.grains.options import GrainOptions, Inherited, check_keywords, check_predicate, combine
from grange.proto.keys import KeyKind, key_kind, kind_name
from grange.proto.versions import interface_number

_SPEC = "__grange_spec__"


class Addressable:
    """Base of the classes that a reference can refer to: grain classes and interfaces."""

    __slots__ = ()


class Definition(msgspec.Struct, frozen=True, eq=False):
    """A class as defined: its keywords, its options and its public async methods. Annotations are not resolved yet.

    `key` is the kind of key that the class or a base of it names, None if none does; `open_key` is the type variable in
    `Grain[...]` that no derived class has bound yet.
    """

    class_name: str
    keywords: Mapping[str, Any]
    options: GrainOptions
    key: KeyKind | None
    open_key: TypeVar | None
    methods: dict[str, Declared]
    is_interface: bool


def define(
    cls: type[Addressable],
    given: Mapping[str, Any],
    base_names: frozenset[str],
    is_interface: bool,
    hooks: Hooks = HOOKS,
) -> None:
    """Check a new class and keep its definition on it. Raises ConfigurationError with the class and the remedy."""
    keywords: dict[str, Any] = {**_before_remaking(cls), **given}
    check_keywords(cls.__name__, keywords, is_interface)
    bases = _definitions(cls.__mro__[1:])
    roots = frozenset(base for base in cls.__mro__ if issubclass(base, Addressable) and base is not cls) - bases.keys()
    _check_kind(cls, roots)
    check_members(cls, roots, base_names, is_interface, hooks)
    key, open_key = _key_of(cls, keywords, bases)
    inherited = [Inherited(base.__name__, each.keywords, each.is_interface) for base, each in bases.items()]
    options = combine(cls.__name__, keywords, inherited, key or str)
    check_predicate(cls, options)
    definition = Definition(
        cls.__name__, keywords, options, key, open_key, outline(cls, base_names, is_interface, hooks), is_interface
    )
    _check_name(cls, keywords, bases)
    _check_workers(cls, definition)
    _check_transactional(cls, options, definition.methods)
    if options.default and not any(each.is_interface for each in bases.values()):
        raise ConfigurationError(
            f"grain class {cls.__name__}: default=True has no effect without an interface; remove it"
        )
    overridden = _overridden(bases)
    check_shapes(cls, definition.methods, overridden, is_interface)
    with suppress(Unresolved):  # perhaps an annotation names a class that is defined later: `spec_of` checks again
        check_types(cls, definition.methods, overridden)
    setattr(cls, DEFINITION, definition)


def _check_transactional(cls: type, options: GrainOptions, methods: Mapping[str, Declared]) -> None:
    """Refuse what would run beside a transactional method, whose changes may still be rolled back."""
    found = [name for name, method in methods.items() if method.options.transactional]
    if not found:
        return
    beside = [name for name, method in methods.items() if method.streams or method.options.always_interleave]
    obstacles = [
        (options.reentrant, "reentrant=True", "remove it"),
        (options.may_interleave is not None, "may_interleave=", "remove it"),
        (options.stateless_workers > 0, "stateless_workers=", "use an ordinary grain, which has one activation"),
        (bool(beside), f"{', '.join(beside)}, which runs beside other turns,", "move it to another grain"),
    ]
    for present, name, remedy in obstacles:
        if present:
            raise ConfigurationError(
                f"grain class {cls.__name__}: {found[0]} is @transactional, and no other turn may see what may still "
                f"be rolled back, or add to it. {name} contradicts that; {remedy}"
            )


def _check_workers(cls: type, definition: Definition) -> None:
    """Refuse what needs one activation in a class of stateless workers."""
    if not definition.options.stateless_workers:
        return
    streamed = [name for name, method in definition.methods.items() if method.streams]
    if streamed:
        raise ConfigurationError(
            f"grain class {cls.__name__}: {streamed[0]} streams its items from one activation, and stateless_workers= "
            "has several; stream from an ordinary grain, or return a list"
        )
    hooks = [hook for hook in DELIVERED_HOOKS if hasattr(cls, hook)]
    if hooks:
        raise ConfigurationError(
            f"grain class {cls.__name__}: {hooks[0]} belongs to one activation, and stateless_workers= has several; "
            "have an ordinary grain take reminders and jobs, and call these workers"
        )


def _check_kind(cls: type, roots: frozenset[type]) -> None:
    kinds = sorted(root.__name__ for root in roots if root is not Addressable)
    if len(kinds) > 1 and kinds != ["Grain", "GrainInterface"]:
        raise ConfigurationError(
            f"{cls.__name__} derives from {' and '.join(kinds)}; a class is a grain, with or without interfaces, or an "
            "observer, or a silo service"
        )


def spec_of(cls: type[Addressable]) -> InterfaceSpec:
    """The specification of a class for callers and the runtime, made at first use and kept on the class."""
    if not isinstance(cast("object", cls), type):
        raise ConfigurationError(_not_a_class(cls))
    spec = cls.__dict__.get(_SPEC)
    if spec is None or spec.cls is not cls:  # a class that was made anew has a copy of the attributes
        definition: Definition | None = cls.__dict__.get(DEFINITION)
        if definition is None:
            raise ConfigurationError(
                f"{cls.__name__} is not a grain class or interface that you defined; derive from Grain"
            )
        if definition.open_key is not None:
            raise ConfigurationError(
                f"{cls.__name__}: nothing binds {definition.open_key}, the kind of its key; derive a class that binds "
                f"it, such as class Numbered({cls.__name__}[int])"
            )
        spec = read_interface(cls, definition.options, definition.methods)
        try:
            check_types(cls, definition.methods, _overridden(_definitions(cls.__mro__[1:])))
        except Unresolved as error:
            raise ConfigurationError(
                f"{cls.__name__}: an annotation of its base classes or interfaces cannot be resolved: {error}"
            ) from error
        setattr(cls, _SPEC, spec)
    return cast("InterfaceSpec", spec)


def _not_a_class(given: object) -> str:
    if isinstance(given, Addressable):
        return f"{type(given).__name__}() is an object; give the class itself: {type(given).__name__}"
    if get_origin(given) is not None:
        return f"{given!r} is not a class; derive a class from it: class Closed({given!r})"
    return f"{given!r:.100} is not a class; give the grain class or interface itself, as in get_grain(Cart, 'ann')"


def interfaces_of(cls: type[Addressable]) -> dict[type, str]:
    """The interfaces that a grain class implements, with their names."""
    return {base: each.options.name for base, each in _definitions(cls.__mro__).items() if each.is_interface}


def versions_of(cls: type[Addressable]) -> dict[str, int]:
    """The versions of a grain class and of its interfaces by name, without those that have none.

    Raises ConfigurationError for two names whose versions a request could not tell apart.
    """
    versions: dict[str, int] = {}
    numbers: dict[int, str] = {}
    for base, definition in _definitions(cls.__mro__).items():
        name, version = definition.options.name, definition.options.version
        if not version or not (definition.is_interface or base is cls):
            continue
        other = numbers.setdefault(interface_number(name), name)
        if versions.setdefault(other, version) != version or other != name:
            raise ConfigurationError(
                f"grain class {cls.__name__}: a request cannot tell {other!r} (version {versions[other]}) from "
                f"{name!r} (version {version}); give one of the interfaces another name="
            )
    return versions


def is_interface(cls: type[Addressable]) -> bool:
    """Whether a class is an interface. A reference to it needs a grain type that implements it."""
    definition = cls.__dict__.get(DEFINITION)
    return definition is not None and definition.is_interface


def _before_remaking(cls: type) -> Mapping[str, Any]:
    """The keywords of a class that a decorator makes anew, such as `dataclass(slots=True)`: without its keywords.

    The new class has a copy of the attributes of the old one, and so of its definition.
    """
    before: Definition | None = cls.__dict__.get(DEFINITION)
    return before.keywords if before is not None and before.class_name == cls.__name__ else {}


def _definitions(classes: Sequence[type]) -> dict[type, Definition]:
    return {base: base.__dict__[DEFINITION] for base in classes if DEFINITION in base.__dict__}


def _overridden(bases: Mapping[type, Definition]) -> list[Overridden]:
    return [Overridden(base, definition.methods, definition.is_interface) for base, definition in bases.items()]


def _key_of(
    cls: type, keywords: Mapping[str, Any], bases: Mapping[type, Definition]
) -> tuple[KeyKind | None, TypeVar | None]:
    """The kind of key that `key=`, `Grain[...]` or a base names, and the type variable in `Grain[...]` if open."""
    place = f"grain class {cls.__name__}"
    bound = [
        kind
        for base, variables in bindings(cls, strict=False).items()
        if issubclass(base, Addressable) and base not in bases
        for kind in variables.values()
    ]
    named = [kind for kind in bound if not isinstance(kind, TypeVar)]
    kinds = {key_kind(kind, place) for kind in ([keywords["key"]] if "key" in keywords else []) + named}
    kinds |= {base.key for base in bases.values() if base.key is not None}
    if len(kinds) > 1:
        names = ", ".join(sorted(map(kind_name, kinds)))
        raise ConfigurationError(f"{place}: key=, Grain[...] and its bases name different keys: {names}")
    key = kinds.pop() if kinds else None
    for base, definition in bases.items():
        if definition.is_interface and definition.options.key != (key or str):
            theirs, ours = kind_name(definition.options.key), kind_name(key or str)
            raise ConfigurationError(
                f"{place} has keys of kind {ours}, and its interface {base.__name__} of kind {theirs}; write "
                f"class {base.__name__}(GrainInterface, key=...) with the kind of the grain"
            )
    return key, next((kind for kind in bound if isinstance(kind, TypeVar) and key is None), None)


def _check_name(cls: type, keywords: Mapping[str, Any], bases: Mapping[type, Definition]) -> None:
    """Refuse a class that has the class name of a base, whose `name=` it would lose."""
    for base, definition in bases.items():
        if "name" in definition.keywords and "name" not in keywords and base.__name__ == cls.__name__:
            raise ConfigurationError(
                f"grain class {cls.__name__} derives from a class of the same name, and would not inherit its "
                f"name={definition.options.name!r}; give it a name= of its own"
            )
