"""Encodes errors for the wire and rebuilds them. Only builtin and registered classes are rebuilt; none is imported.

An error of a call made *by* a method (any `CallError`) arrives as `RemoteError`: it describes the outcome of the inner
call, but the outer call was executed.
"""

from __future__ import annotations

import asyncio
import builtins
import enum
import itertools
import traceback
import types
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, cast

import msgspec

from grange import errors
from grange.errors import CallCancelled, CallError, ConfigurationError, DeadlockError, InvalidResult, RemoteError
from grange.proto.fault_values import FaultValues

_MAX_TEXT = 16_384
"""Characters of a message, note or traceback that are sent. A longer message loses its end, a longer traceback its
start."""

_MAX_VALUES = 65_536
"""Bytes; limit for all arguments, and for all attributes. The rest of the fault must fit into the same message."""

_MAX_NOTES = 16
"""Most notes that are sent with one error."""

_REFERS = frozenset({"obj"})
"""Attributes of builtin errors that refer to the object at fault (AttributeError). They are not sent."""


class Fault(msgspec.Struct, array_like=True):
    """An error on the wire: class name, message, constructor arguments, attributes, traceback and notes as text.

    `args` is an array and `attributes` a map by name, both in the encoding of `fault_values.py`. `remote`: the error
    arrived in the sending process as a RemoteError, and stays one.
    """

    type: str
    message: str
    args: msgspec.Raw = msgspec.Raw(b"\x90")
    attributes: msgspec.Raw = msgspec.Raw(b"\x80")
    traceback: str = ""
    notes: list[str] = []
    remote: bool = False


_DECODER = msgspec.msgpack.Decoder(Fault)
_ENCODER = msgspec.msgpack.Encoder()


class Clash(enum.Enum):
    """What happens to a second exception class of one name."""

    REFUSE = "refuse"  # two classes are given to one silo, and callers could not tell them apart
    REPLACE = "replace"  # a client takes the class that was defined last, as by a notebook cell
    KEEP = "keep"  # a running silo keeps the class that it was started with


class Faults:
    """The exception classes that one silo or client can rebuild, by name."""

    def __init__(self, registered: Iterable[type[Exception]] = ()) -> None:
        self._classes: dict[str, type[Exception]] = {}
        self._values = FaultValues(self._write_inner, self._read_inner)
        for cls in (*_builtin_errors(), *_own_errors()):
            self._classes[type_name(cls)] = cls
        self.register(registered)

    def register(self, classes: Iterable[type[Exception]], clash: Clash = Clash.REFUSE) -> None:
        """Let errors of these classes arrive as themselves.

        `clash` decides about a second class of one name. Raises ConfigurationError for it if it is to be refused, for
        anything but an exception class, and for a CallError: the caller's retry loop would take an error that a method
        raised for the outcome of the call, and repeat the call.
        """
        for cls in classes:
            if not _is_error_class(cls):
                raise ConfigurationError(f"errors= must name exception classes, not {cls!r}")
            if issubclass(cls, CallError):
                raise ConfigurationError(f"{type_name(cls)} cannot be registered: a CallError is a call's outcome")
            known = self._classes.setdefault(type_name(cls), cls)
            if clash is Clash.REPLACE:
                self._classes[type_name(cls)] = cls
            elif known is not cls and clash is Clash.REFUSE:
                raise ConfigurationError(
                    f"two exception classes are named {type_name(cls)}, and a caller could not tell them apart; rename "
                    "one, or define all grain classes that name it again"
                )

    def local(self, error: BaseException) -> BaseException:
        """The error that a local caller gets: a copy, made as for a remote caller. It keeps its traceback and cause."""
        received = self.load(self.dump(error, with_traceback=not self._is_rebuilt(error)))
        if type(received) is type(error):
            for name in ("__cause__", "__context__", "__suppress_context__"):
                object.__setattr__(received, name, getattr(error, name))
            return received.with_traceback(error.__traceback__)
        if self._is_rebuilt(error):  # but not from what could be sent of it: a remote caller gets its traceback
            received = self.load(self.dump(error))
        received.__cause__ = error
        return received

    def encode(self, error: BaseException) -> bytes:
        """The bytes of an error for the wire."""
        return _ENCODER.encode(self.dump(error))

    def dump(self, error: BaseException, with_traceback: bool = True) -> Fault:
        """Encode an error. If its arguments cannot be sent, the message replaces them; a note names what is missing."""
        remote = isinstance(error, RemoteError)
        name, message = type_name(type(error)), _text(error)
        trace = "".join(traceback.format_exception(error)) if with_traceback else ""
        if isinstance(error, RemoteError):
            name, message = error.type_name or name, str(error.args[0]) if error.args else ""
            trace = error.remote_traceback or trace
        missing: list[str] = []
        message = _encodable(message[:_MAX_TEXT])
        args, attributes = None, b"\x80"
        if not remote and self._is_rebuilt(error):
            args = self._pack_args(error, missing)
            attributes = self._pack_attributes(error, missing)
        return Fault(
            name,
            message,
            msgspec.Raw(_ENCODER.encode([message]) if args is None else args),
            msgspec.Raw(attributes),
            _encodable(trace[-_MAX_TEXT:]),
            _notes(error, missing, with_traceback),
            remote,
        )

    def read(self, data: bytes) -> Exception:
        """Decode the error to raise; a RemoteError if the bytes cannot be decoded."""
        try:
            return self.load(_DECODER.decode(data))
        except (ValueError, RecursionError) as error:
            return RemoteError(f"the peer sent an error that cannot be read: {error}")

    def read_refusal(self, data: bytes) -> Exception:
        """Decode the error of a rejection: it may describe the outcome of the call itself, as `DeadlockError` does."""
        error: Exception | None = None
        with suppress(ValueError, RecursionError):
            fault = _DECODER.decode(data)
            error = self._make(DeadlockError, fault) if fault.type == type_name(DeadlockError) else None
        return error or self.read(data)

    def load(self, fault: Fault) -> Exception:
        """Rebuild the error to raise, with its notes, and the remote traceback as a note."""
        error = self._rebuild(fault)
        notes = fault.notes[:_MAX_NOTES]
        if fault.traceback:
            notes.append(f"{_TRACE}{fault.traceback.rstrip()}")
        if notes:  # not by add_note: a frozen class refuses it
            object.__setattr__(error, "__notes__", [*getattr(error, "__notes__", ()), *notes])
        return error

    def _rebuild(self, fault: Fault) -> Exception:
        if fault.type == _CANCELLED:
            return CallCancelled(f"the method raised CancelledError itself {fault.message}".rstrip())
        if fault.type == type_name(InvalidResult):
            return InvalidResult(fault.message)
        cls = None if fault.remote else self._classes.get(fault.type)
        error = None if cls is None else self._make(cls, fault)
        if error is not None:
            return error
        if fault.type == type_name(RemoteError):
            return RemoteError(fault.message, "", fault.traceback)
        remote = RemoteError(fault.message, fault.type, fault.traceback)
        if cls is None and not fault.remote and fault.type not in _NEVER_REBUILT:
            remote.add_note(_hint(fault.type))
        return remote

    def _make(self, cls: type[Exception], fault: Fault) -> Exception | None:
        """An error of this class with these arguments and attributes; None if the class does not take them.

        No code of a registered class runs: `args` may differ from the parameters of its `__init__` and `__new__`.
        """
        try:
            args, attributes = self._values.unpack(bytes(fault.args)), self._values.unpack(bytes(fault.attributes))
            error = _construct(cls, args)
            for name, value in attributes.items():
                if not _is_dunder(name):
                    object.__setattr__(error, name, value)
        except Exception:  # a peer may send any values, and constructors raise any error for them
            return None
        return error

    def _is_rebuilt(self, error: BaseException) -> bool:
        """Whether an error arrives as its own class."""
        return self._classes.get(type_name(type(error))) is type(error) or type(error) is DeadlockError

    # Each value is packed once. To pack it again, in search of the part that failed, would double the time with each
    # level of nested errors.

    def _pack_args(self, error: BaseException, missing: list[str]) -> bytes | None:
        packed = [self._packed(arg) for arg in error.args]
        data = [msgspec.Raw(arg) for arg in packed if arg is not None]
        if len(data) < len(packed):
            unsendable = (n for n, arg in enumerate(packed) if arg is None)
            named = itertools.islice(unsendable, _MAX_NOTES)
            missing.extend(f"argument {n + 1} ({_kind(error.args[n])})" for n in named)
            return None
        if sum(map(len, packed)) > _MAX_VALUES:  # type: ignore[arg-type]
            missing.append("its arguments, which are too large")
            return None
        return _ENCODER.encode(data)

    def _pack_attributes(self, error: BaseException, missing: list[str]) -> bytes:
        attributes: dict[str, msgspec.Raw] = {}
        size = 0
        for name, value in _attributes(error):
            data = self._packed(value)
            if data is None or size + len(data) > _MAX_VALUES:
                missing.append(f"attribute {name!r} ({_kind(value)})")
            else:
                attributes[name] = msgspec.Raw(data)
                size += len(data)
        return _ENCODER.encode(attributes)

    def _packed(self, value: Any) -> bytes | None:
        """The bytes of a value; None if errors do not carry it, or it is larger than the limit."""
        try:
            data = self._values.pack(value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return None
        return data if len(data) <= _MAX_VALUES else None

    def _write_inner(self, error: BaseException) -> bytes:
        """An error inside the arguments of another. The traceback of the outer error shows both."""
        return _ENCODER.encode(self.dump(error, with_traceback=False))

    def _read_inner(self, data: bytes) -> Exception:
        return self.load(_DECODER.decode(data))


def is_remote(error: BaseException) -> bool:
    """Whether `Faults.load` made this error: another process raised it."""
    return any(note.startswith(_TRACE) for note in getattr(error, "__notes__", ()))


def _is_error_class(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Exception)


def type_name(cls: type) -> str:
    """The name of an exception class on the wire: `ValueError`, `shop.errors.OutOfStock`."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


_TRACE = "Remote traceback:\n"
_CANCELLED = type_name(asyncio.CancelledError)
_NEVER_REBUILT = frozenset(
    type_name(cls)
    for cls in (*vars(builtins).values(), *vars(errors).values())
    if isinstance(cls, type)
    and issubclass(cls, BaseException)
    and (issubclass(cls, CallError) or not issubclass(cls, Exception))
)
"""Classes that `errors=` refuses, such as KeyboardInterrupt, BaseExceptionGroup and CallTimeout."""


def _construct(cls: type[Exception], args: list[Any]) -> Exception:
    """An error with these arguments, made by its nearest builtin class. Raises for arguments that do not fit."""
    base = next(parent for parent in cls.__mro__ if parent.__module__ == "builtins")
    error = cast("Exception", cast("Any", base).__new__(cls, *args))
    cast("Any", base).__init__(error, *args)
    object.__setattr__(error, "args", tuple(args))
    return error


def _attributes(error: BaseException) -> Iterator[tuple[str, Any]]:
    """Yield what an error has beyond its arguments: fields of builtin classes, slots, and its dictionary."""
    cls = type(error)
    members = [
        (parent, name)
        for parent in cls.__mro__[: cls.__mro__.index(BaseException)]
        if parent is not BaseExceptionGroup  # its fields are read-only and come from the arguments
        for name, member in vars(parent).items()
        if isinstance(member, types.MemberDescriptorType | types.GetSetDescriptorType)
        and not (_is_dunder(name) or name in _REFERS)
    ]
    plain = _plain_twin(error) if members else None
    for parent, name in members:
        value = _member(parent, name, error)
        if value is not _UNSET and value is not _member(parent, name, plain):
            yield name, value
    yield from ((name, value) for name, value in vars(error).items() if not _is_dunder(name))


def _plain_twin(error: BaseException) -> BaseException | None:
    """The same error made from its arguments alone. Fields that it has too need not be sent."""
    try:
        return _construct(cast("type[Exception]", type(error)), list(error.args))
    except Exception:  # the arguments of a class with a constructor of its own fit no builtin class
        return None


_UNSET = object()


def _member(parent: type, name: str, error: BaseException | None) -> Any:
    try:
        return _UNSET if error is None else vars(parent)[name].__get__(error)
    except AttributeError:
        return _UNSET


def _is_dunder(name: str) -> bool:
    """Whether a name belongs to the language. A peer must not set one, such as `__class__`."""
    return name.startswith("__") and name.endswith("__")


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _notes(error: BaseException, missing: list[str], with_traceback: bool) -> list[str]:
    """The notes to send: those of the error, then one that names what was not sent.

    The traceback of the error contains remote tracebacks that arrived as notes, so they are not sent beside it.
    """
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    own = [_encodable(note[-_MAX_TEXT:]) for note in notes if not (with_traceback and note.startswith(_TRACE))]
    own = own[-_MAX_NOTES + 1 :]
    return [*own, f"Not sent with this error: {', '.join(missing)}"[:_MAX_TEXT]] if missing else own


def _hint(name: str) -> str:
    return f"To receive {name} as itself, name it in errors= of the grain class, the silo or the client."


def _encodable(text: str) -> str:
    """Replace lone surrogates, which cannot be encoded; file names may contain them."""
    return text.encode("utf-8", "replace").decode()


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # a user's __str__ may raise; the error must be sent nevertheless
        return f"<no text: {type(broken).__name__} in __str__>"


def _builtin_errors() -> list[type[Exception]]:
    """The builtin exceptions, except those that would end the caller's own iteration."""
    classes = [cls for cls in vars(builtins).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    return [cls for cls in classes if not issubclass(cls, (StopAsyncIteration, StopIteration))]


def _own_errors() -> list[type[Exception]]:
    """The errors of grange that do not describe the outcome of a call."""
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.GrangeError)]
    return [cls for cls in classes if not issubclass(cls, CallError)]
