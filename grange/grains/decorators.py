"""Method options, as decorators. They record the options on the function; `interface.py` reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from grange.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = "__grange_method__"


class MethodOptions(msgspec.Struct, frozen=True):
    """The options of one method. `timeout` is in seconds (None: the default of the silo or client)."""

    read_only: bool = False
    always_interleave: bool = False
    one_way: bool = False
    timeout: float | None = None


def method_options(function: object) -> MethodOptions:
    """The options recorded on a function, or the defaults."""
    return getattr(function, _OPTIONS, MethodOptions())


def read_only(method: F) -> F:
    """Declare that the method changes no state: it may run beside other read-only calls of the same activation."""
    return _record(method, read_only=True)


def always_interleave(method: F) -> F:
    """Let the method run beside any other call of the same activation. The state may change at each of its awaits."""
    return _record(method, always_interleave=True)


def one_way(method: F) -> F:
    """Have the caller wait only until a silo accepts the call. Errors of the method are logged, not raised.

    The method must return None.
    """
    return _record(method, one_way=True)


def response_timeout(seconds: float) -> Callable[[F], F]:
    """Set the response time-out of the method in seconds, instead of the default of the silo or client."""
    if not seconds > 0:
        raise ConfigurationError(f"response_timeout must be a positive number of seconds, not {seconds!r}")
    return lambda method: _record(method, timeout=float(seconds))


def _record(method: F, **changes: Any) -> F:
    if not callable(method):
        raise ConfigurationError(f"method options decorate an async def, not {method!r}")
    setattr(method, _OPTIONS, msgspec.structs.replace(method_options(method), **changes))
    return method
