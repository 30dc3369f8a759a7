"""Streamed methods: how they are written, and the hidden methods by which a caller fetches their items. Pure.

A streamed method is a public async generator; in an interface also a plain `def` that returns an async iterator, as
type checkers want it. Its call is the request for the first batch. The next batches, and the end, are requests for two
hidden methods of the same activation: `$next.NAME` and `$close.NAME`.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, cast, get_args, get_origin

import msgspec

from grange.errors import ConfigurationError
from grange.grains.decorators import NO_OPTIONS, MethodOptions

HIDDEN = "$"
"""The first character of the names of hidden methods, which no method of a class can have."""

BATCH_KEY = "$batch"
"""The key of a request context with the most items of the first batch. Each call of a streamed method has it."""

CALLER_KEY = "$caller"
"""The key of a request context with the client that began an enumeration. Only silos set it, beside `BATCH_KEY`."""

MOST_ITEMS = 100
"""Most items of one batch, unless the caller asks for fewer."""

FETCH_TIMEOUT = 30.0
"""Seconds within which a batch or a sign of life must come. It is the same on both sides, and not the default response
time-out of the caller, so that the silo knows when to send a sign of life."""

HOLD_SHARE = 1 / 3
"""Share of this time after which a fetch without an item is answered by a sign of life."""


LEAVE_TIMEOUT = 1.0
"""Seconds that a cancelled caller waits at most until the silo knows that it has left."""


class State(enum.IntEnum):
    """What follows a batch."""

    MORE = 0  # further items, or the end: it must be asked for
    ENDED = 1  # nothing: the generator has returned
    ABORTED = 2  # nothing: the enumeration was ended before the generator was


_ITERATORS = (AsyncIterator, AsyncIterable, AsyncGenerator)
_TEXT = re.compile(r"(?:\w+\.)*Async(?:Iterator|Iterable|Generator)\b")


class Enumerates(Protocol):
    """The part of an activation that holds the live enumerations of its grain."""

    def open_items(self, name: str, items: AsyncGenerator[Any, None]) -> Awaitable[Any]:
        """Begin the enumeration of a streamed method, and fetch its first batch."""
        ...

    async def next_items(self, number: int, most: int) -> Any:
        """Fetch the next batch of a live enumeration."""
        ...

    async def close_items(self, number: int, wait: bool) -> None:
        """End a live enumeration, and its generator. `wait`: until its code has ended."""
        ...


def returns_items(function: object) -> bool:
    """Whether a plain function is annotated to return an async iterator. Annotations may still be text."""
    return inspect.isfunction(function) and not inspect.iscoroutinefunction(function) and _returns_iterator(function)


def check_awaited(place: str, function: Callable[..., Any], is_interface: bool) -> None:
    """Check that an async def without `yield` is not meant to stream. Raises ConfigurationError with the remedy."""
    if not _returns_iterator(function):
        return
    remedy = "write it as a plain `def` with this result" if is_interface else "yield the items in it, one by one"
    raise ConfigurationError(f"{place} is an async def that returns an async iterator, which cannot be sent; {remedy}")


def _returns_iterator(function: Callable[..., Any]) -> bool:
    hint = function.__annotations__.get("return")
    return bool(_TEXT.match(hint)) if isinstance(hint, str) else _origin(hint) in _ITERATORS


def item_type(hint: Any, place: str) -> Any:
    """The type of the items, from the annotation of a streamed method. Raises ConfigurationError for any other."""
    arguments = get_args(hint)
    if _origin(hint) not in _ITERATORS or not arguments:
        raise ConfigurationError(f"{place} streams its items; annotate its result as AsyncIterator[T]")
    if arguments[1:] not in ((), (None,), (type(None),)):
        raise ConfigurationError(
            f"{place}: a caller can send nothing into a streamed method; annotate its result as AsyncGenerator[T, None]"
        )
    return arguments[0]


def stream_options(place: str, options: MethodOptions) -> MethodOptions:
    """The options of a streamed method in force. Raises ConfigurationError for those without effect on it."""
    given = msgspec.structs.replace(options, timeout=None, cancels=False, requires=())
    if given != NO_OPTIONS or options.cancels:
        raise ConfigurationError(
            f"{place}: {options} has no effect on a streamed method, which always interleaves and ends with its "
            "caller; remove it (@response_timeout(seconds) alone says how soon a sign of life must come)"
        )
    timeout = FETCH_TIMEOUT if options.timeout is None else options.timeout
    return MethodOptions(
        always_interleave=True, timeout=timeout, cancellable=True, cancels=True, requires=options.requires
    )


def beginning(options: MethodOptions) -> MethodOptions:
    """The options of the call that begins an enumeration: a caller that is cancelled must learn whether it has begun.

    Only the answer names the enumeration, and it may be on its way.
    """
    return msgspec.structs.replace(options, awaits_end=True, end_timeout=LEAVE_TIMEOUT)


async def fetch_next(grain: Any, number: int, most: int = MOST_ITEMS) -> Any:
    """`$next.NAME`: the next batch of an enumeration."""
    return await cast("Enumerates", grain._grange).next_items(number, most)


async def close(grain: Any, number: int, wait: bool = True) -> None:
    """`$close.NAME`: end an enumeration early. With `wait` it ends when the code of the generator has ended."""
    await cast("Enumerates", grain._grange).close_items(number, wait)


def begin(grain: Any, name: str, items: AsyncGenerator[Any, None]) -> Awaitable[Any]:
    """Begin the enumeration of a streamed method, and fetch its first batch: what the turn of its call does."""
    return cast("Enumerates", grain._grange).open_items(name, items)


def _origin(hint: Any) -> Any:
    return get_origin(hint) or hint
