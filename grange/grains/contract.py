"""Compares a method with the one of an interface or base class that it implements. Pure.

Arguments travel by position, and each side reads them by its own signature. So a method that names its parameters in
another order, or gives them other types, would receive other values than the caller sent.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from grange.errors import ConfigurationError
from grange.grains.decorators import NO_OPTIONS, MethodOptions
from grange.grains.generics import Bound, bindings, check_bound, method_hints, shown
from grange.grains.interface import DEFINITION, Declared, inherited_options
from grange.grains.items import item_type


class Overridden(msgspec.Struct, frozen=True, eq=False):
    """A base class or interface, with the methods that a class must fit."""

    cls: type
    methods: Mapping[str, Declared]
    is_interface: bool

    def __str__(self) -> str:
        return f"the interface {self.cls.__name__}" if self.is_interface else f"the base class {self.cls.__name__}"


def check_shapes(cls: type, methods: Mapping[str, Declared], bases: Sequence[Overridden], is_interface: bool) -> None:
    """Check that a class has each method of its bases, with the same parameters and options.

    Raises ConfigurationError. Runs when the class is defined; `check_types` runs when the annotations can be resolved.
    """
    interfaces = {base.cls for base in bases if base.is_interface}
    for base in bases:
        missing = [name for name, wanted in base.methods.items() if _is_inherited(methods.get(name), wanted)]
        if base.is_interface and not is_interface and missing:
            raise ConfigurationError(f"grain class {cls.__name__} does not implement {', '.join(missing)} of {base}")
    for base, wanted, method in _overrides(methods, bases):
        place = f"{cls.__name__}.{wanted.name}"
        if method is None or method.streams != wanted.streams:
            shape = "an async generator" if wanted.streams else "an async def"
            if method is not None and method.streams:
                shape += " without yield"
            raise ConfigurationError(f"{place} must be {shape}, because that of {base} is")
        difference = _difference(_parameters(wanted), _parameters(method))
        if difference:
            raise ConfigurationError(
                f"{place}({_text(method)}) does not fit {base}, which has {wanted.name}({_text(wanted)}): {difference}"
            )
        if base.is_interface and not is_interface:
            own = inherited_options(wanted.name, (each for each in cls.__mro__ if each not in interfaces))
            _check_options(place, base, wanted, own)


def check_types(cls: type, methods: Mapping[str, Declared], bases: Sequence[Overridden]) -> None:
    """Check that each method has the types of the methods that it overrides. Raises ConfigurationError.

    Raises Unresolved for an annotation that cannot be evaluated yet.
    """
    seen_from = bindings(cls)
    for base, wanted, method in _overrides(methods, bases):
        if method is not None:
            _check_types(cls, base, wanted, method, seen_from)


def _check_types(
    cls: type, base: Overridden, wanted: Declared, method: Declared, seen_from: Mapping[type, Bound]
) -> None:
    ours = method_hints(method.function, method.owner, seen_from)
    theirs = method_hints(wanted.function, wanted.owner, seen_from)
    if method.streams:
        place = f"{cls.__name__}.{wanted.name}"
        ours["return"], theirs["return"] = item_type(ours["return"], place), item_type(theirs["return"], place)
    for part, hint in theirs.items():
        sent, received = (ours[part], hint) if part == "return" else (hint, ours[part])
        if _fits(sent, received):
            continue
        what = ("an item" if method.streams else "the result") if part == "return" else f"the argument {part!r}"
        check_bound(hint, f"{base.cls.__name__}.{wanted.name}, {what}")
        again = (
            "; these are two classes of one name, so define both sides again" if shown(sent) == shown(received) else ""
        )
        raise ConfigurationError(
            f"{cls.__name__}.{wanted.name}: {what} is {shown(ours[part])}, and {shown(hint)} in {base}; write the same "
            f"type on both sides{again}"
        )


def _is_inherited(method: Declared | None, wanted: Declared) -> bool:
    return method is not None and method.function is wanted.function


def _overrides(
    methods: Mapping[str, Declared], bases: Sequence[Overridden]
) -> Iterator[tuple[Overridden, Declared, Declared | None]]:
    """Each method of the bases that the class defines anew; None where it is no longer a method."""
    for base in bases:
        for name, wanted in base.methods.items():
            if not _is_inherited(methods.get(name), wanted):
                yield base, wanted, methods.get(name)


def _parameters(declared: Declared) -> list[inspect.Parameter]:
    return list(inspect.signature(declared.function).parameters.values())[1:]


def _text(declared: Declared) -> str:
    """The parameters as written, without self and types: `source, target=1`."""
    parameters = [parameter.replace(annotation=parameter.empty) for parameter in _parameters(declared)]
    return str(inspect.Signature(parameters))[1:-1]


def _difference(wanted: list[inspect.Parameter], given: list[inspect.Parameter]) -> str:
    """The first way in which `given` does not take all calls of `wanted`; empty if there is none."""
    expected = [parameter.name for parameter in wanted]
    if [parameter.name for parameter in given[: len(expected)]] != expected:
        return "write the same names in the same order"
    for theirs, ours in zip(wanted, given, strict=False):
        if ours.kind not in (theirs.kind, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            return f"{ours.name!r} must be given in the same way, by position or by name"
        if theirs.default is not theirs.empty and ours.default is ours.empty:
            return f"{ours.name!r} needs a default too"
        if theirs.default is not theirs.empty and not _same_default(theirs.default, ours.default):
            return f"the default of {ours.name!r} must be the same"
    required = [parameter.name for parameter in given[len(wanted) :] if parameter.default is parameter.empty]
    return f"the added {required[0]!r} needs a default" if required else ""


def _same_default(theirs: Any, ours: Any) -> bool:
    """Whether two defaults are equal. Two objects of one class without an equality of its own are taken as equal."""
    if type(theirs) is not type(ours):
        return False
    compares = any("__eq__" in vars(cls) for cls in type(theirs).__mro__[:-1])
    if not compares or repr(theirs) == repr(ours):
        return True  # the text also covers NaN, and arrays, whose `==` is no bool
    try:
        return bool(theirs == ours)
    except Exception:
        return False


def _check_options(place: str, base: Overridden, wanted: Declared, own: MethodOptions) -> None:
    """Check the options that the caller's side reads: callers by the interface see only those of the interface."""
    unseen = MethodOptions(
        one_way=own.one_way and not wanted.options.one_way,
        timeout=own.timeout if (own.timeout, own.cancels) != (wanted.options.timeout, wanted.options.cancels) else None,
        awaits_end=own.awaits_end and not wanted.options.awaits_end,
    )
    unseen = msgspec.structs.replace(
        unseen,
        cancels=own.cancels and unseen.timeout is not None,
        cancellable=unseen.awaits_end,
    )
    if unseen != NO_OPTIONS:
        raise ConfigurationError(
            f"{place}: {unseen} has no effect for callers by {base}; write it there, on "
            f"{base.cls.__name__}.{wanted.name}, and the grain inherits it"
        )


def _fits(sent: Any, received: Any) -> bool:
    """Whether values of the type `sent` arrive unchanged as `received`: the same type, or a reference to a base."""
    sent, received = _plain(sent), _plain(received)
    if sent == received:
        return True
    if isinstance(sent, type) and isinstance(received, type):
        return hasattr(received, DEFINITION) and issubclass(sent, received)
    if _origin(received) is Union:
        ours = get_args(sent) if _origin(sent) is Union else (sent,)
        return all(any(_fits(one, other) for other in get_args(received)) for one in ours)
    ours, theirs = get_args(sent), get_args(received)
    return _origin(sent) is _origin(received) and len(ours) == len(theirs) and all(map(_fits, ours, theirs))


def _origin(hint: Any) -> Any:
    origin = get_origin(hint) or hint
    return Union if origin is UnionType else origin


def _plain(hint: Any) -> Any:
    """The type behind NewType, a type alias, and marks other than msgspec's, which do not change what is sent."""
    while True:
        inner = getattr(hint, "__supertype__", None)
        if type(hint).__name__ == "TypeAliasType":
            inner = hint.__value__
        elif get_origin(hint) is Annotated:
            kind, *marks = get_args(hint)
            left = [mark for mark in marks if isinstance(mark, msgspec.Meta)]
            if len(left) < len(marks):
                inner = Annotated[(kind, *left)] if left else kind
        if inner is None:
            return hint
        hint = inner
