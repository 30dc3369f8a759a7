"""Class options: the keywords of a grain class, checked when the class is defined."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypedDict, cast

import msgspec

from grange.errors import CallError, ConfigurationError
from grange.proto.keys import KeyKind

MayInterleave = Callable[[str, tuple[Any, ...]], bool]
"""(method name, arguments) -> whether the call may run beside another one."""

_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}")


class GrainKeywords(TypedDict, total=False):
    """The class keywords of a grain; `GrainOptions` explains each."""

    name: str
    key: object
    idle_timeout: float
    keep_alive: bool
    reentrant: bool
    may_interleave: MayInterleave | str
    placement: str
    stateless_workers: int
    mailbox_limit: int
    errors: Sequence[type[Exception]]
    default: bool
    version: int


class GrainOptions(msgspec.Struct, frozen=True):
    """All options of a grain class.

    name: identity in storage, messages and the directory; default: the class name in snake case. A later change
        orphans stored state.
    key: the kind of key, from `Grain[...]` or `key=`.
    idle_timeout: seconds without calls after which an activation is collected; None: the silo's default.
    keep_alive: never collect an activation for idleness.
    reentrant: requests may interleave at every await.
    may_interleave: a predicate (or the name of a method of the class) that decides which requests may interleave.
    placement: the name of a placement strategy: "ring", "random", "prefer_local".
    stateless_workers: the most activations per silo, outside the directory; 0: an ordinary grain.
    mailbox_limit: requests that may wait at one activation; further ones are refused as Overloaded. None: the silo's.
    errors: exception classes that callers receive as themselves; others arrive as RemoteError.
    default: this class is the default implementation of an interface that several classes implement.
    version: of the interface, for rolling upgrades.
    """

    name: str
    key: KeyKind = str
    idle_timeout: float | None = None
    keep_alive: bool = False
    reentrant: bool = False
    may_interleave: MayInterleave | str | None = None
    placement: str = "ring"
    stateless_workers: int = 0
    mailbox_limit: int | None = None
    errors: tuple[type[Exception], ...] = ()
    default: bool = False
    version: int = 0


def snake_case(name: str) -> str:
    """`ShoppingCart` -> `shopping_cart`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def check(owner: str, options: GrainOptions) -> GrainOptions:
    """Return the options. Raises ConfigurationError for values out of range and options that contradict each other."""
    for wrong, text in chain(_bad_values(options), _contradictions(options)):
        if wrong:
            raise ConfigurationError(f"grain class {owner}: {text}")
    return options


def _bad_values(options: GrainOptions) -> Iterator[tuple[bool, str]]:
    """Check each value. Lazy, so a later check may rely on an earlier one."""
    name = cast("object", options.name)  # the annotation is not checked at run time
    idle, limit = options.idle_timeout, options.mailbox_limit
    yield not (isinstance(name, str) and _NAME.fullmatch(name)), f"name={name!r} must match {_NAME.pattern}"
    yield str(name).startswith("grange."), f"name={name!r}: names starting with 'grange.' are reserved for the runtime"
    positive = idle is None or (_is_number(idle) and idle > 0)
    yield not positive, f"idle_timeout={idle!r} must be a positive number of seconds"
    yield not _is_count(options.stateless_workers), "stateless_workers= must be a whole number, 0 or more"
    countable = limit is None or (_is_count(limit) and limit > 0)
    yield not countable, "mailbox_limit= must be a whole number, 1 or more"
    yield not all(map(_is_error_class, options.errors)), "errors= must name exception classes"
    yield (
        any(issubclass(error, CallError) for error in options.errors),
        "errors= must not name a CallError: callers would mistake it for the outcome of their call",
    )


def _contradictions(options: GrainOptions) -> Iterator[tuple[bool, str]]:
    yield options.keep_alive and options.idle_timeout is not None, "keep_alive=True contradicts idle_timeout="
    yield options.reentrant and options.may_interleave is not None, "reentrant=True contradicts may_interleave="
    yield (
        options.stateless_workers > 0 and options.placement != "ring",
        "stateless_workers= contradicts placement=: workers run on the caller's silo",
    )


def _is_number(candidate: object) -> bool:
    return isinstance(candidate, int | float) and not isinstance(candidate, bool)


def _is_count(candidate: object) -> bool:
    return isinstance(candidate, int) and not isinstance(candidate, bool) and candidate >= 0


def _is_error_class(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Exception)
