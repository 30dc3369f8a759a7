"""Type variables of generic grain classes: the types that a derived class binds them to. Pure.

`class Users(Repo[User])` binds the `T` of `Repo` to `User`, also through several levels of bases. Annotations are
resolved as seen from the class that is called, because a type variable that nothing binds would carry any value.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, Generic, Protocol, TypeVar, cast, get_args, get_origin, get_type_hints

from typing_extensions import NoDefault

from grange.errors import ConfigurationError

Bound = Mapping[Any, Any]
"""The type variables of one class, each with its type."""

_UNBOUND: Bound = MappingProxyType({})
_NO_ARGUMENTS = (Generic, Protocol, object)


class Unresolved(Exception):
    """An annotation cannot be evaluated: wrong, or it names a class that is defined later."""


def bindings(cls: type, *, strict: bool = True) -> dict[type, Bound]:
    """The bound type variables of each base of a class, as seen from that class.

    Raises Unresolved for a forward reference that cannot be resolved (not `strict`: it is left as it is), and
    ConfigurationError for a variable that two bases bind to different types.
    """
    found: dict[type, Bound] = {}
    _collect(cls, cls, _UNBOUND, found, strict)
    return found


def _collect(root: type, cls: type, bound: Bound, found: dict[type, Bound], strict: bool) -> None:
    for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin = get_origin(base) or base
        if not isinstance(origin, type) or origin in _NO_ARGUMENTS:
            continue
        variables = cast("tuple[Any, ...]", getattr(origin, "__parameters__", ()))
        given: dict[Any, Any] = {}
        if all(isinstance(variable, TypeVar) for variable in variables):
            arguments = (substitute(_resolved(cls, argument, strict), bound) for argument in get_args(base))
            given = dict(zip(variables, arguments, strict=False))
        known = found.get(origin, _UNBOUND)
        for variable in given.keys() & known.keys():
            if _is_open(given[variable]):
                given[variable] = known[variable]
            elif not _is_open(known[variable]) and given[variable] != known[variable]:
                raise ConfigurationError(
                    f"{variable} of {origin.__name__} is bound to {shown(known[variable])} and to "
                    f"{shown(given[variable])} by the bases of {root.__name__}; derive from one of them"
                )
        found[origin] = {**known, **given}
        _collect(root, origin, given, found, strict)


def substitute(hint: Any, bound: Bound) -> Any:
    """The annotation with its bound type variables replaced by their types; unbound ones stay."""
    if isinstance(hint, TypeVar):
        return _value(hint, bound)
    variables = _variables_of(hint)
    if not variables or not all(isinstance(variable, TypeVar) for variable in variables):
        return hint
    return hint[tuple(_value(variable, bound) for variable in variables)]


def method_hints(function: Callable[..., Any], owner: type, seen_from: Mapping[type, Bound]) -> dict[str, Any]:
    """The annotations of a method that `owner` defines, with its type variables bound. Raises Unresolved."""
    bound = seen_from.get(owner, _UNBOUND)
    return {name: substitute(hint, bound) for name, hint in _evaluated(function).items()}


def constructor_hints(cls: type, owner: type, init: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the `__init__` of `owner` with type variables bound, also those of fields of its bases.

    Raises Unresolved.
    """
    seen_from = bindings(cls)
    hints = _evaluated(init)
    return {name: substitute(hint, seen_from.get(_declares(owner, name), _UNBOUND)) for name, hint in hints.items()}


def check_bound(hint: Any, place: str) -> None:
    """Raise ConfigurationError for a type variable that nothing binds."""
    for part in _parts(hint):
        if isinstance(part, TypeVar):
            raise ConfigurationError(
                f"{place}: nothing binds the type variable {part}, so its type is not known; name the type, or derive "
                "a class that binds it, such as class Users(Repo[User])"
            )
        if any(not isinstance(variable, TypeVar) for variable in _variables_of(part)):
            raise ConfigurationError(
                f"{place}: {shown(part)} has a ParamSpec or a TypeVarTuple, which cannot be bound; name the types"
            )


def check_complete(hint: Any, place: str) -> None:
    """Raise ConfigurationError for a generic class without its types, because its fields would carry any value."""
    for part in _parts(hint):
        missing = cast("tuple[Any, ...]", getattr(part, "__parameters__", ())) if _is_bare_class(part) else ()
        if any(_value(variable, _UNBOUND) is variable for variable in missing):
            raise ConfigurationError(
                f"{place}: {part.__name__} is generic and needs its types: write {part.__name__}[...] with a type "
                f"for {', '.join(variable.__name__ for variable in missing)}"
            )


def own_annotations(cls: type) -> Mapping[str, Any]:
    """The annotations in the body of a class, not evaluated if they cannot be yet."""
    try:
        return inspect.get_annotations(cls)
    except NameError:  # Python 3.14 evaluates them here
        return {}


def shown(hint: Any) -> str:
    """An annotation as text: `int`, `shop.User`, `list[shop.User]`."""
    if get_origin(hint) is None and isinstance(hint, type):
        return hint.__qualname__ if hint.__module__ == "builtins" else f"{hint.__module__}.{hint.__qualname__}"
    return str(hint)


def _value(variable: Any, bound: Bound) -> Any:
    """The type of a variable: bound, else its default (PEP 696), else the variable itself."""
    if variable in bound:
        return bound[variable]
    default = getattr(variable, "__default__", None)  # None is a variable without a default before Python 3.13
    return variable if default is None or default is NoDefault else default


def _variables_of(hint: Any) -> tuple[Any, ...]:
    """The free type variables inside a parametrised annotation, such as T in `list[T]`."""
    return cast("tuple[Any, ...]", getattr(hint, "__parameters__", ())) if get_origin(hint) is not None else ()


def _is_open(hint: Any) -> bool:
    return isinstance(hint, TypeVar) or bool(_variables_of(hint))


def _is_bare_class(part: Any) -> bool:
    return get_origin(part) is None and isinstance(part, type)


def _parts(hint: Any) -> Iterator[Any]:
    """Yield the annotation and everything inside its brackets."""
    yield hint
    for argument in get_args(hint):
        yield from _parts(argument)


def _declares(owner: type, name: str) -> type:
    """The class that declares the field of a generated `__init__`; `owner` for a parameter that is written out."""
    if "__dataclass_fields__" not in owner.__dict__ and "__attrs_attrs__" not in owner.__dict__:
        return owner
    return next((base for base in owner.__mro__ if {name, f"_{name}"} & own_annotations(base).keys()), owner)


def _resolved(cls: type, argument: Any, strict: bool) -> Any:
    """A type argument of a base with its forward references resolved in the module of the class."""
    module = sys.modules.get(cls.__module__)
    try:
        return _evaluated(SimpleNamespace(__annotations__={"it": argument}), vars(module) if module else {})["it"]
    except Unresolved:
        if strict:
            raise
        return argument


def _evaluated(annotated: Any, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """The annotations of a function, evaluated if they are text: this may raise any error."""
    try:
        return get_type_hints(annotated, names, include_extras=True)
    except Exception as error:
        raise Unresolved(str(error)) from error
