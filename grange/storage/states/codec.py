"""The value of a state as JSON that reads back as the same value. Called by `state.py` and `facet.py`."""

from __future__ import annotations

import copy
from typing import Any, Generic, Protocol, TypeVar, cast

from grange.errors import ConfigurationError
from grange.proto.checks import Found, Unfit
from grange.proto.equality import Difference, difference, is_equal, parts_of
from grange.proto.message import Encoding
from grange.proto.values import TypedCodec, ValueCodec
from grange.storage.record import holds_nul

T = TypeVar("T")

_CONTAINERS = (list, dict, set, frozenset, tuple, type(None))
"""Classes that do not tell the types of their items."""


class StateCodec(Protocol[T]):
    """Turns a state's value into JSON and back. The runtime provides one per state of a grain class."""

    def encode(self, value: T) -> bytes:
        """JSON text in UTF-8. Raises TypeError or ValueError for a value that cannot be written as JSON."""
        ...

    def decode(self, payload: bytes) -> T:
        """The inverse. Raises TypeError or ValueError for text that does not fit the type."""
        ...


class Copies(Generic[T]):
    """Keeps a deep copy of the value that was written last, of any type: the codec of some detached states."""

    def __init__(self) -> None:
        self._written: Any = None

    def encode(self, value: T) -> bytes:
        """Keep a copy; there is no text."""
        self._written = copy.deepcopy(value)
        return b"null"

    def decode(self, payload: bytes) -> T:
        """A copy of the copy."""
        return cast("T", copy.deepcopy(self._written))


def codec_without_silo(value: T) -> StateCodec[T]:
    """The codec of a silo, if the class of the value tells all types; otherwise one that copies.

    A list does not tell the types of its items, a generic class does not tell its arguments, and a class that holds
    grain references needs a silo.
    """
    kind: Any = type(value)
    if kind in _CONTAINERS or getattr(kind, "__parameters__", None):
        return Copies()
    codec = ValueCodec()
    try:
        codec.check(kind, "a detached state", Encoding.JSON)
    except ConfigurationError:
        return Copies()
    return codec.of(kind, Encoding.JSON)


def encode_and_compare(codec: StateCodec[T], value: T) -> tuple[bytes, Difference | None]:
    """The value as JSON, and the first difference to what that reads back as. Raises the errors of the codec.

    Most values are sure to read back equal, by the classes inside them: these are only written. Otherwise the codec
    refuses a value that its type cannot carry, and the comparison shows what only the decoded value tells. It begins
    with `==`, unless the codec has left classes untried whose construction may change what `==` does not see.
    """
    found = Found(trying=True)
    if not isinstance(codec, TypedCodec):
        payload = codec.encode(value)
    elif codec.is_sure(value):
        return _without_nul(codec.write(value), value), None
    else:
        payload = codec.encode(value, found)
    _without_nul(payload, value)
    try:
        decoded = codec.decode(payload)
    except (TypeError, ValueError):
        raise
    except Exception as error:  # of the author's `__post_init__`
        raise ValueError(f"what is written cannot be read back: {type(error).__qualname__}: {error}") from error
    return payload, None if not found.untried and is_equal(decoded, value) else difference(value, decoded)


def text_of(found: Difference) -> str:
    """The text of an error about a value that does not read back as it was, with the remedy."""
    place = f"value{found.path}" if found.path else "the value"
    return (
        f"{place} would read back as {found.after}, not {found.before}; give it a value that its type and JSON can "
        f"hold, or another type"
    )


def _without_nul(payload: bytes, value: Any) -> bytes:
    """The payload. Raises Unfit if a text inside the value holds a NUL character."""
    if holds_nul(payload):
        reason = "a text holds a NUL character, which Postgres cannot keep; keep binary content as bytes"
        raise Unfit(reason).within(_path_of_nul(value) or "")
    return payload


def _path_of_nul(value: Any) -> str | None:
    """The path of the first text with a NUL character, a key of a mapping included."""
    if isinstance(value, str):
        return "" if "\0" in value else None
    for step, part in parts_of(value):
        path = _path_of_nul(part)
        if path is not None:
            return step + path
    return None
