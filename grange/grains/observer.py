"""`GrainObserver`, the base class of objects outside grains that grains call.

`Client.create_observer` makes a reference to one. `runtime/observers/` carries the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack, cast

from grange.errors import ConfigurationError
from grange.grains.definition import Addressable, Definition, define
from grange.grains.hooks import HOOKS
from grange.grains.interface import DEFINITION, Declared


class ObserverKeywords(TypedDict, total=False):
    """The class keywords of an observer."""

    errors: Sequence[type[Exception]]


class GrainObserver(Addressable):
    """The base class of observers: objects of a client, or of other code in a silo's process, that grains call.

    Write an interface, `class ChatObserver(GrainObserver)` with async methods whose bodies are `...`, and annotate
    arguments and state with it. Derive the class that implements it, and hand an instance to `create_observer`, which
    returns the reference to pass on. Calls to one observer run one at a time, in the order in which they arrive.
    `errors=` names the exception classes that its callers receive as themselves.
    """

    __slots__ = ()

    def __init_subclass__(cls, **keywords: Unpack[ObserverKeywords]) -> None:
        super().__init_subclass__()
        if unknown := ", ".join(f"{name}=" for name in sorted(keywords.keys() - {"errors"})):
            raise ConfigurationError(f"observer {cls.__name__}: {unknown} has no effect on an observer; it has errors=")
        define(cls, {**keywords, "key": (str, str)}, frozenset(dir(GrainObserver)), is_interface=False)
        for name, method in cast("Definition", cls.__dict__[DEFINITION]).methods.items():
            _check(f"{cls.__name__}.{name}", method)
        if hooks := ", ".join(sorted(_NO_HOOKS & vars(cls).keys())):
            raise ConfigurationError(f"{cls.__name__}: {hooks} is a hook of grains, which no observer has; rename it")


_OF_REFERENCES = frozenset({"id", "key", "reference"})
_NO_HOOKS = frozenset(HOOKS) - {"on_call"}


def _check(place: str, method: Declared) -> None:
    options = method.options
    if method.name in _OF_REFERENCES:
        raise ConfigurationError(f"{place}: {method.name} is a name of references; choose another")
    if method.streams:
        raise ConfigurationError(f"{place}: an observer streams no results; return a list, or have it call a grain")
    if options.read_only or options.always_interleave:
        raise ConfigurationError(
            f"{place}: {options} has no effect, because an observer takes one call at a time; remove it"
        )
    if options.blocking or options.rates or options.requires or options.audited:
        raise ConfigurationError(f"{place}: {options} has no effect on an observer; only grains have it. Remove it")
