"""Class options: the keywords of a grain class, checked when the class is defined."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypedDict, cast, get_type_hints

import msgspec

from grange.errors import CallError, ConfigurationError
from grange.placement.custom import as_strategy
from grange.placement.provider import Choose, NamedStrategy, PlacementStrategy
from grange.proto.keys import KeyKind
from grange.proto.versions import LAST_VERSION
from grange.proto.waits import Detects
from grange.security.rule import check_requires

MayInterleave = Callable[[str, tuple[Any, ...]], bool]
"""(method name, arguments) -> whether the call may run beside another one."""

MAX_SECONDS = 10 * 365 * 24 * 3600.0
"""Longest time-out, due time or period, in seconds; a larger number is refused as a mistake."""

SIMILAR = 0.75
"""Least similarity of two names (0 to 1, by `difflib`) at which one is suggested for the other."""

_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}")


class InterfaceKeywords(TypedDict, total=False):
    """The class keywords of an interface; `GrainOptions` explains each. The others belong to the grain class."""

    name: str
    key: object
    errors: Sequence[type[Exception]]
    version: int


class GrainKeywords(InterfaceKeywords, total=False):
    """The class keywords of a grain; `GrainOptions` explains each."""

    idle_timeout: float | None
    keep_alive: bool
    reentrant: bool
    may_interleave: MayInterleave | str | None
    placement: str | PlacementStrategy | NamedStrategy | Choose
    stateless_workers: int
    migratable: bool
    mailbox_limit: int | None
    detect_deadlocks: str | None
    default: bool
    requires: str | Sequence[str]


_KNOWN = frozenset(get_type_hints(GrainKeywords))
_OF_INTERFACES = frozenset(get_type_hints(InterfaceKeywords))
_NOT_INHERITED = frozenset({"name", "key", "default", "version"})
"""A name is one class's identity; `default` and `version` are about one class; `definition.py` decides the key."""


class GrainOptions(msgspec.Struct, frozen=True):
    """All options of a grain class. A derived class inherits them, except `name`, `default` and `version`.

    name: identity in storage, messages and the directory; default: the class name in snake case. A later change
        orphans stored state.
    key: the kind of key, from `Grain[...]` or `key=`.
    idle_timeout: seconds without calls after which an activation is collected; None: the silo's default.
    keep_alive: never collect an activation for idleness.
    reentrant: requests may interleave at every await.
    may_interleave: a predicate (or the name of a method of the class) that decides which requests may interleave.
    placement: the name of a placement strategy: "ring", "random", "prefer_local", "least_loaded", "role".
    strategy: the strategy that `placement=` gave as an object or a function; `placement` is its name then.
    stateless_workers: the most activations per silo, outside the directory; 0: an ordinary grain.
    migratable: whether an activation may move to another silo while its own serves: by itself, by an operator or by the
        rebalancer.
    mailbox_limit: requests that may wait at one activation; further ones are refused as Overloaded. None: the silo's.
    detect_deadlocks: "on", "warn" or "off": whether a request that waits in a cycle is refused with DeadlockError, only
        reported, or left to its time-out. None: the silo's.
    errors: exception classes that callers receive as themselves; others arrive as RemoteError. Those of base classes
        and interfaces are added.
    default: this class is the default implementation of an interface that several classes implement.
    version: of the interface, or of the methods that callers of the class see: a caller needs the version that it was
        written for, and a silo with a class that does not serve it gets none of its calls. 0: no version.
    requires: what callers of any method need: one word of each (`security/rule.py`). Those of base classes are added.
    """

    name: str
    key: KeyKind = str
    idle_timeout: float | None = None
    keep_alive: bool = False
    reentrant: bool = False
    may_interleave: MayInterleave | str | None = None
    placement: str = "ring"
    strategy: PlacementStrategy | None = None
    stateless_workers: int = 0
    migratable: bool = True
    mailbox_limit: int | None = None
    detect_deadlocks: str | None = None
    errors: tuple[type[Exception], ...] = ()
    default: bool = False
    version: int = 0
    requires: tuple[tuple[str, ...], ...] = ()


def snake_case(name: str) -> str:
    """`ShoppingCart` -> `shopping_cart`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def check_keywords(owner: str, keywords: Mapping[str, Any], is_interface: bool) -> None:
    """Raise ConfigurationError for an unknown keyword, and for one that has no effect on an interface."""
    unknown = sorted(set(keywords) - _KNOWN)
    if unknown:
        close = difflib.get_close_matches(unknown[0], _KNOWN, n=1, cutoff=SIMILAR)
        meant = f"did you mean {close[0]}? " if close else ""
        raise ConfigurationError(
            f"grain class {owner}: unknown option {', '.join(unknown)}; {meant}known are {', '.join(sorted(_KNOWN))}"
        )
    misplaced = ", ".join(f"{name}=" for name in sorted(set(keywords) - _OF_INTERFACES))
    if is_interface and misplaced:
        raise ConfigurationError(
            f"interface {owner}: {misplaced} has no effect on an interface; move it to the grain class that implements "
            f"it. An interface has {', '.join(sorted(_OF_INTERFACES))}"
        )


class Inherited(msgspec.Struct, frozen=True):
    """The keywords of one base class or interface, which a derived class inherits."""

    owner: str
    keywords: Mapping[str, Any]
    is_interface: bool


def combine(owner: str, keywords: Mapping[str, Any], bases: Sequence[Inherited], key: KeyKind) -> GrainOptions:
    """The options of a class: its own keywords over those of its bases, the nearest first; `errors=` add up.

    Raises ConfigurationError for values out of range and options that contradict each other.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for base in reversed(bases):
        for name in () if base.is_interface else base.keywords.keys() - _NOT_INHERITED - {"errors", "requires"}:
            values[name], origins[name] = base.keywords[name], base.owner
    values |= {"name": snake_case(owner), **keywords, "key": key}
    errors = (error for each in (keywords, *(base.keywords for base in bases)) for error in _errors(owner, each))
    values["errors"] = tuple(dict.fromkeys(errors))
    needs = [
        _requires(owner, each["requires"])
        for each in (keywords, *(base.keywords for base in bases))
        if "requires" in each
    ]
    values["requires"] = tuple(dict.fromkeys(needs))
    given = values.get("placement", "ring")
    if given is not None and not isinstance(given, str):
        values["strategy"] = as_strategy(given, f"grain class {owner}: placement=")
        values["placement"] = values["strategy"].name
    options = GrainOptions(**values)
    inherited = {name: base for name, base in origins.items() if name not in keywords}
    for wrong, text in chain(_bad_values(options), _contradictions(options)):
        if wrong:
            notes = [f"; {name}= is inherited from {base}" for name, base in inherited.items() if f"{name}=" in text]
            raise ConfigurationError(f"grain class {owner}: {text}{''.join(notes)}")
    return options


def _errors(owner: str, keywords: Mapping[str, Any]) -> tuple[Any, ...]:
    """The value of `errors=`: one class or several."""
    given: Any = keywords.get("errors", ())
    try:
        return (given,) if isinstance(given, type) else tuple(given)
    except TypeError:
        raise ConfigurationError(f"grain class {owner}: errors= must name exception classes, not {given!r}") from None


def _requires(owner: str, given: object) -> tuple[str, ...]:
    """The value of `requires=`: one word or several."""
    words = (given,) if isinstance(given, str) else given
    try:
        return check_requires(cast("Sequence[object]", words))
    except ValueError as error:
        raise ConfigurationError(f'grain class {owner}: requires=: {error}: write requires=["role:admin"]') from None


def _bad_values(options: GrainOptions) -> Iterator[tuple[bool, str]]:
    """Check each value. Lazy, so a later check may rely on an earlier one."""
    name = cast("object", options.name)  # the annotation is not checked at run time
    idle, limit = options.idle_timeout, options.mailbox_limit
    yield not (isinstance(name, str) and _NAME.fullmatch(name)), f"name={name!r} must match {_NAME.pattern}"
    yield str(name).startswith("grange."), f"name={name!r}: names starting with 'grange.' are reserved for the runtime"
    yield (
        not (idle is None or is_seconds(idle)),
        f"idle_timeout={idle!r} must be a positive number of seconds, at most {MAX_SECONDS:.0f}; to keep activations "
        "for ever, say keep_alive=True",
    )
    for switch in ("keep_alive", "reentrant", "default", "migratable"):
        value = getattr(options, switch)
        yield not isinstance(value, bool), f"{switch}={value!r} must be True or False"
    placement = cast("object", options.placement)
    yield not (isinstance(placement, str) and placement.strip()), f"placement={placement!r} must name a strategy"
    yield not _is_count(options.stateless_workers), "stateless_workers= must be a whole number, 0 or more"
    countable = limit is None or (_is_count(limit) and limit > 0)
    yield not countable, "mailbox_limit= must be a whole number, 1 or more"
    yield (
        not (_is_count(options.version) and options.version <= LAST_VERSION),
        f"version={options.version!r} must be a whole number, 0 to {LAST_VERSION}",
    )
    detects = options.detect_deadlocks
    yield detects not in (None, *Detects), f"detect_deadlocks={detects!r} must be one of {', '.join(Detects)}"
    yield not all(map(_is_error_class, options.errors)), f"errors= must name exception classes, not {options.errors!r}"
    yield (
        any(issubclass(error, CallError) for error in options.errors),
        "errors= must not name a CallError: callers would mistake it for the outcome of their call",
    )


def _contradictions(options: GrainOptions) -> Iterator[tuple[bool, str]]:
    yield (
        options.keep_alive and options.idle_timeout is not None,
        "keep_alive=True contradicts idle_timeout=; say keep_alive=False or idle_timeout=None",
    )
    yield (
        options.reentrant and options.may_interleave is not None,
        "reentrant=True contradicts may_interleave=; say reentrant=False or may_interleave=None",
    )
    yield (
        options.stateless_workers > 0 and options.placement != "ring",
        "stateless_workers= contradicts placement=: workers run on the caller's silo",
    )
    yield (
        options.stateless_workers > 0 and not options.migratable,
        "stateless_workers= contradicts migratable=False: workers never move; remove it",
    )


def check_predicate(cls: type, options: GrainOptions) -> None:
    """Raise ConfigurationError unless `may_interleave=` is a plain function of (method, args), or names one.

    The result of an async function would always be true.
    """
    given = options.may_interleave
    if given is None:
        return
    place = f"grain class {cls.__name__}: may_interleave={given!r}"
    function: Any = given
    arguments: tuple[Any, ...] = ("method", ())
    if isinstance(given, str):
        function = inspect.getattr_static(cls, given, None)
        if isinstance(function, staticmethod | classmethod):
            function = getattr(cls, given)
        else:
            arguments = (cls, *arguments)
        if not callable(function):
            raise ConfigurationError(f"{place} names no method of the class")
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{place} must be a plain def, not async, that takes (method, args)")
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{place} must take (method, args): {error}") from None


def is_seconds(candidate: object) -> bool:
    """Whether a value is a positive number of seconds, up to MAX_SECONDS."""
    return is_number(candidate) and 0 < cast("float", candidate) <= MAX_SECONDS


def is_number(candidate: object) -> bool:
    """Whether a value is an int or a float; a bool in place of a number is a mistake."""
    return isinstance(candidate, int | float) and not isinstance(candidate, bool)


def _is_count(candidate: object) -> bool:
    return isinstance(candidate, int) and not isinstance(candidate, bool) and candidate >= 0


def _is_error_class(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Exception)
