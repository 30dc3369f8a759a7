"""Errors to wire form and back. Only builtin and registered exception classes are rebuilt, and never by importing.

An error of a call made *by* a method (any `CallError`) travels as `RemoteError`: whatever it says of the inner call,
the outer one was executed.
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
"""Characters of message or traceback that travel; the rest is cut, the end of a traceback kept."""

_MAX_PLAIN = 65_536
"""Bytes of all arguments, or of all attributes, that travel; a fault must fit beside anything into one message."""

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
    """The exception classes that one silo or client can rebuild."""

    def __init__(self, registered: Iterable[type[Exception]] = ()) -> None:
        self._classes: dict[str, type[Exception]] = {}
        for cls in (*_builtin_errors(), *_own_errors()):
            self._classes[type_name(cls)] = cls
        self.register(registered)

    def register(self, classes: Iterable[type[Exception]]) -> None:
        """Let these classes travel as themselves. Raises ConfigurationError for a second class of one name, and for a
        CallError: the caller's loop would take what a method raised for the outcome of the call, and repeat it.
        """
        for cls in classes:
            if issubclass(cls, CallError):
                raise ConfigurationError(f"{type_name(cls)} cannot be registered: a CallError tells a call's outcome")
            known = self._classes.setdefault(type_name(cls), cls)
            if known is not cls:
                raise ConfigurationError(f"two exception classes are named {type_name(cls)}")

    def local(self, error: BaseException) -> BaseException:
        """What a caller in the same process receives: the same as a remote one would, but the object itself."""
        if isinstance(error, RemoteError | InvalidResult) or self._classes.get(type_name(type(error))) is type(error):
            return error
        outside = self.load(self.dump(error))
        outside.__cause__ = error
        return outside

    def dump(self, error: BaseException) -> Fault:
        """An error as data. Arguments and attributes that are not plain are left behind."""
        text = "".join(traceback.format_exception(error))
        name = type_name(type(error))
        message = _text(error)
        if isinstance(error, RemoteError):
            name, message = error.type_name, str(error.args[0]) if error.args else ""
            text = error.remote_traceback or text
        message, text = _written(message[:_MAX_TEXT]), _written(text[-_MAX_TEXT:])
        attributes = {key: value for key, value in vars(error).items() if not key.startswith("_") and _travels(value)}
        return Fault(
            name,
            message,
            list(error.args) if all(map(_travels, error.args)) and _fits(error.args) else [message],
            attributes if _fits(attributes) else {},
            text,
        )

    def read(self, data: bytes) -> Exception:
        """The error to raise, from the wire. What cannot be read was an error all the same: a RemoteError says so."""
        try:
            return self.load(_DECODER.decode(data))
        except (ValueError, RecursionError) as error:
            return RemoteError(f"the peer sent an error that cannot be read: {error}")

    def load(self, fault: Fault) -> Exception:
        """The error to raise. Its notes hold the remote traceback."""
        error = self._rebuild(fault)
        if fault.traceback:
            error.add_note(f"Remote traceback:\n{fault.traceback.rstrip()}")
        return error

    def _rebuild(self, fault: Fault) -> Exception:
        if fault.type == _CANCELLED:
            return CallCancelled(f"the method ended by cancelling itself {fault.message}".rstrip())
        if fault.type == type_name(InvalidResult):
            return InvalidResult(fault.message)
        cls = self._classes.get(fault.type)
        error = None if cls is None else _made(cls, fault.args)
        if error is None:
            return RemoteError(fault.message, fault.type, fault.traceback)
        vars(error).update({key: value for key, value in fault.attributes.items() if not key.startswith("_")})
        return error


def type_name(cls: type) -> str:
    """How an exception class is named on the wire: `ValueError`, `shop.errors.OutOfStock`."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


_CANCELLED = type_name(asyncio.CancelledError)


def _made(cls: type[Exception], args: list[Any]) -> Exception | None:
    """An error with these arguments; None for a class whose `__new__` takes other ones than it keeps."""
    try:
        # A class of yours may want more in `__init__` than it handed on; its attributes follow.
        error = cls(*args) if cls.__module__ == "builtins" else cls.__new__(cls, *args)
        error.args = tuple(args)
    except Exception:
        return None
    return error


def _travels(value: object) -> bool:
    """Plain, and short enough that a few of them fit any message."""
    too_long = isinstance(value, str | bytes) and len(value) > _MAX_TEXT
    return isinstance(value, _PLAIN) and not too_long and _fits(value)


def _fits(values: object) -> bool:
    """Whether all of it can be written: no integer over 64 bits, no text that is not Unicode, and not too much."""
    try:
        return len(_encode(values)) <= _MAX_PLAIN
    except (TypeError, ValueError, OverflowError):
        return False


def _written(text: str) -> str:
    """Text as it can be encoded: names of files may hold lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # a user's __str__ may raise; the error itself must still travel
        return f"<no text: {type(broken).__name__} in __str__>"


def _builtin_errors() -> list[type[Exception]]:
    """Builtin exceptions that can be made from their arguments alone. Groups carry others inside and stay remote."""
    found = [cls for cls in vars(builtins).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    awkward = (
        BaseExceptionGroup,
        UnicodeDecodeError,
        UnicodeEncodeError,
        UnicodeTranslateError,
        StopAsyncIteration,
    )
    return [cls for cls in found if not issubclass(cls, (*awkward, StopIteration))]


def _own_errors() -> list[type[Exception]]:
    """grange's errors that say nothing about the outcome of a call."""
    found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.GrangeError)]
    return [cls for cls in found if not issubclass(cls, CallError)]
