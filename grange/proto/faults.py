"""Encodes errors for the wire and rebuilds them. Only builtin and registered classes are rebuilt; none is imported.

An error of a call made *by* a method (any `CallError`) arrives as `RemoteError`: it describes the outcome of the inner
call, but the outer call was executed.
"""

from __future__ import annotations

import asyncio
import builtins
import traceback
from collections.abc import Iterable
from typing import Any

import msgspec

from grange import errors
from grange.errors import CallCancelled, CallError, ConfigurationError, InvalidResult, RemoteError

_MAX_TEXT = 16_384
"""Characters of a message or traceback that are sent. A longer message loses its end, a longer traceback its start."""

_MAX_PLAIN = 65_536
"""Bytes; limit for all arguments, and for all attributes. The rest of the fault must fit into the same message."""

_PLAIN = (str, int, float, bool, bytes, type(None))
_encode = msgspec.msgpack.Encoder().encode


class Fault(msgspec.Struct, array_like=True):
    """An error on the wire: class name, message, plain constructor arguments and attributes, traceback as text."""

    type: str
    message: str
    args: list[Any] = []
    attributes: dict[str, Any] = {}
    traceback: str = ""


_DECODER = msgspec.msgpack.Decoder(Fault)


class Faults:
    """The exception classes that one silo or client can rebuild, by name."""

    def __init__(self, registered: Iterable[type[Exception]] = ()) -> None:
        self._classes: dict[str, type[Exception]] = {}
        for cls in (*_builtin_errors(), *_own_errors()):
            self._classes[type_name(cls)] = cls
        self.register(registered)

    def register(self, classes: Iterable[type[Exception]]) -> None:
        """Let errors of these classes arrive as themselves.

        Raises ConfigurationError for a second class of the same name, and for a CallError: the caller's retry loop
        would take an error that a method raised for the outcome of the call, and repeat the call.
        """
        for cls in classes:
            if issubclass(cls, CallError):
                raise ConfigurationError(f"{type_name(cls)} cannot be registered: a CallError is a call's outcome")
            known = self._classes.setdefault(type_name(cls), cls)
            if known is not cls:
                raise ConfigurationError(f"two exception classes are named {type_name(cls)}")

    def local(self, error: BaseException) -> BaseException:
        """The error that a local caller gets: the same as for a remote caller, without a copy where possible."""
        if isinstance(error, RemoteError | InvalidResult) or self._classes.get(type_name(type(error))) is type(error):
            return error
        remote = self.load(self.dump(error))
        remote.__cause__ = error
        return remote

    def dump(self, error: BaseException) -> Fault:
        """Encode an error. Arguments and attributes that are not plain values are dropped."""
        text = "".join(traceback.format_exception(error))
        name = type_name(type(error))
        message = _text(error)
        if isinstance(error, RemoteError):
            name, message = error.type_name, str(error.args[0]) if error.args else ""
            text = error.remote_traceback or text
        message, text = _encodable(message[:_MAX_TEXT]), _encodable(text[-_MAX_TEXT:])
        attributes = {
            key: value for key, value in vars(error).items() if not key.startswith("_") and _is_sendable(value)
        }
        return Fault(
            name,
            message,
            list(error.args) if all(map(_is_sendable, error.args)) and _fits(error.args) else [message],
            attributes if _fits(attributes) else {},
            text,
        )

    def read(self, data: bytes) -> Exception:
        """Decode the error to raise; a RemoteError if the bytes cannot be decoded."""
        try:
            return self.load(_DECODER.decode(data))
        except (ValueError, RecursionError) as error:
            return RemoteError(f"the peer sent an error that cannot be read: {error}")

    def load(self, fault: Fault) -> Exception:
        """Rebuild the error to raise, with the remote traceback as a note."""
        error = self._rebuild(fault)
        if fault.traceback:
            error.add_note(f"Remote traceback:\n{fault.traceback.rstrip()}")
        return error

    def _rebuild(self, fault: Fault) -> Exception:
        if fault.type == _CANCELLED:
            return CallCancelled(f"the method raised CancelledError itself {fault.message}".rstrip())
        if fault.type == type_name(InvalidResult):
            return InvalidResult(fault.message)
        cls = self._classes.get(fault.type)
        error = None if cls is None else _construct(cls, fault.args)
        if error is None:
            return RemoteError(fault.message, fault.type, fault.traceback)
        vars(error).update({key: value for key, value in fault.attributes.items() if not key.startswith("_")})
        return error


def type_name(cls: type) -> str:
    """The name of an exception class on the wire: `ValueError`, `shop.errors.OutOfStock`."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


_CANCELLED = type_name(asyncio.CancelledError)


def _construct(cls: type[Exception], args: list[Any]) -> Exception | None:
    """An error with these arguments; None if the class's `__new__` does not accept its own `args`."""
    try:
        # Skip a custom `__init__`: its parameters may differ from `args`. The attributes are set afterwards.
        error = cls(*args) if cls.__module__ == "builtins" else cls.__new__(cls, *args)
        error.args = tuple(args)
    except Exception:
        return None
    return error


def _is_sendable(value: object) -> bool:
    """Whether a value is plain, and short enough that several fit into one message."""
    too_long = isinstance(value, str | bytes) and len(value) > _MAX_TEXT
    return isinstance(value, _PLAIN) and not too_long and _fits(value)


def _fits(values: object) -> bool:
    """Whether the values can be encoded (no integer over 64 bits, no invalid Unicode) within `_MAX_PLAIN` bytes."""
    try:
        return len(_encode(values)) <= _MAX_PLAIN
    except (TypeError, ValueError, OverflowError):
        return False


def _encodable(text: str) -> str:
    """Replace lone surrogates, which cannot be encoded; file names may contain them."""
    return text.encode("utf-8", "replace").decode()


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # a user's __str__ may raise; the error must be sent nevertheless
        return f"<no text: {type(broken).__name__} in __str__>"


def _builtin_errors() -> list[type[Exception]]:
    """The builtin exceptions that can be made from their arguments. Groups hold other exceptions and stay remote."""
    classes = [cls for cls in vars(builtins).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    excluded = (
        BaseExceptionGroup,
        UnicodeDecodeError,
        UnicodeEncodeError,
        UnicodeTranslateError,
        StopAsyncIteration,
    )
    return [cls for cls in classes if not issubclass(cls, (*excluded, StopIteration))]


def _own_errors() -> list[type[Exception]]:
    """The errors of grange that do not describe the outcome of a call."""
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.GrangeError)]
    return [cls for cls in classes if not issubclass(cls, CallError)]
