"""Method options, as decorators. They only note what the author asked for; `interface.py` reads the notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from grange.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])

_NOTE = "__grange_method__"


class MethodOptions(msgspec.Struct, frozen=True):
    """What decorators said of one method. `timeout` is in seconds (None: the silo's or client's default)."""

    read_only: bool = False
    always_interleave: bool = False
    one_way: bool = False
    timeout: float | None = None


def method_options(function: object) -> MethodOptions:
    """The options noted on a function; the defaults when there are none."""
    return getattr(function, _NOTE, MethodOptions())


def read_only(method: F) -> F:
    """This method changes nothing: it may run beside other read-only calls of the same activation."""
    return _note(method, read_only=True)


def always_interleave(method: F) -> F:
    """This method may run during any other call of the same activation. It must not rely on state between awaits."""
    return _note(method, always_interleave=True)


def one_way(method: F) -> F:
    """The caller only waits until the call is handed over, never for its end; errors are logged, not raised.

    The method must return None.
    """
    return _note(method, one_way=True)


def response_timeout(seconds: float) -> Callable[[F], F]:
    """Callers of this method wait at most so many seconds for its answer, instead of the default."""
    if not seconds > 0:
        raise ConfigurationError(f"response_timeout must be a positive number of seconds, not {seconds!r}")
    return lambda method: _note(method, timeout=float(seconds))


def _note(method: F, **changes: Any) -> F:
    if not callable(method):
        raise ConfigurationError(f"method options decorate an async def, not {method!r}")
    setattr(method, _NOTE, msgspec.structs.replace(method_options(method), **changes))
    return method
