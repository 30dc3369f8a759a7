"""Method options, as decorators. They record the options on the function; `interface.py` reads them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec

from grange.errors import ConfigurationError
from grange.grains.options import is_seconds

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = "__grange_method__"
_WRAPPED = ("__func__", "fget", "func")
"""Where classmethod, staticmethod, property, cached_property and partialmethod keep the function they wrap."""


class MethodOptions(msgspec.Struct, frozen=True):
    """The options of one method. `timeout` is in seconds (None: the default of the silo or client).

    `blocking` is about one function, so no other inherits it.
    """

    read_only: bool = False
    always_interleave: bool = False
    one_way: bool = False
    timeout: float | None = None
    blocking: bool = False

    def over(self, inherited: MethodOptions) -> MethodOptions:
        """These options on top of those of a base class or interface: they add up, the nearest time-out counts."""
        return MethodOptions(
            self.read_only or inherited.read_only,
            self.always_interleave or inherited.always_interleave,
            self.one_way or inherited.one_way,
            inherited.timeout if self.timeout is None else self.timeout,
        )

    def __str__(self) -> str:
        """The decorators: `@read_only, @response_timeout(5)`."""
        flags = [f"@{name}" for name in _FLAGS if getattr(self, name)]
        return ", ".join(flags if self.timeout is None else [*flags, f"@response_timeout({self.timeout:g})"])


_FLAGS = ("read_only", "always_interleave", "one_way", "blocking")

NO_OPTIONS = MethodOptions()


def method_options(function: object) -> MethodOptions:
    """The options recorded on a function, or the defaults."""
    recorded = getattr(function, _OPTIONS, NO_OPTIONS)
    return recorded if type(recorded) is MethodOptions else NO_OPTIONS


def hidden_options(member: object) -> MethodOptions:
    """The options recorded on a function that a property, classmethod or the like wraps, where they have no effect."""
    found = [method_options(getattr(member, name, None)) for name in _WRAPPED]
    return next((options for options in (method_options(member), *found) if options != NO_OPTIONS), NO_OPTIONS)


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
    if not is_seconds(seconds):
        hint = ": write @response_timeout(5)" if callable(cast("object", seconds)) else ""
        raise ConfigurationError(f"response_timeout must be a positive number of seconds, not {seconds!r}{hint}")
    return lambda method: _record(method, timeout=float(seconds))


def _record(method: F, **changes: Any) -> F:
    if not (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)):
        raise ConfigurationError(
            f"method options decorate an async def, not {method!r}; put them on the async def itself, below "
            "@staticmethod, @classmethod, @property and decorators that return no async function, and above @blocking"
        )
    mark(method, **changes)
    return method


def mark(method: object, **changes: Any) -> None:
    """Record options on an async function. Raises ConfigurationError for options that contradict each other."""
    options = msgspec.structs.replace(method_options(method), **changes)
    if options.blocking and (options.read_only or options.always_interleave):
        raise ConfigurationError(
            f"{options} of {method!r} contradict each other: a blocking method runs in a thread, and no other code of "
            "its activation may run beside it; remove one"
        )
    setattr(method, _OPTIONS, options)
