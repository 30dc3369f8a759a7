"""Filters: code of yours around calls. Silos, clients and grains have them; `Call` is what a filter sees.

`async def f(call, proceed)` awaits `proceed()`, which runs the next filter and at last the method, and returns the
result. `runtime/requests/filtering.py` runs them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, Protocol, cast

from grange.errors import ConfigurationError
from grange.grains.caller import caller
from grange.grains.interface import MethodSpec
from grange.proto.identity import Identity
from grange.proto.ids import GrainId


class Proceed(Protocol):
    """Runs the filters that follow and the method, and returns the result. A retry calls it again."""

    def __call__(self) -> Awaitable[Any]:
        """Run them."""
        ...


Direction = Literal["incoming", "outgoing"]
"""Where a filter runs: around the method, or around the call in the process of its caller."""


class Call:
    """One call, as its filters see it.

    args: the arguments in the order of the signature. Assign other ones to change them; they are checked again.
    direction: "incoming" around the method, "outgoing" where the call is made.
    source: of an outgoing call, the grain or silo service that makes it; None outside of them.
    function: the function itself, with all that its decorators recorded: that of the grain's class, or of the class
    or interface in `get_grain` if outgoing. timer: whether it is a tick of a timer, which has no arguments.
    streams: whether the method streams its results. Then the result is an async iterator: `proceed()` returns that of
    the items, and the filter returns it, or one of its own around it.
    """

    __slots__ = (
        "_grain_id", "_method", "_parameters", "args", "direction", "function", "skipped", "source", "streams", "timer",
    )  # fmt: skip

    def __init__(
        self,
        grain_id: GrainId,
        method: str,
        args: tuple[Any, ...],
        function: Callable[..., Any],
        direction: Direction = "incoming",
        parameters: Sequence[inspect.Parameter] | None = None,
    ) -> None:
        self._grain_id = grain_id
        self._method = method
        self.args = args
        self.function = function
        self.direction: Direction = direction
        self.source: GrainId | None = None
        self.timer = parameters is None
        self.streams = False
        self.skipped = False
        self._parameters = parameters or ()

    @property
    def grain_id(self) -> GrainId:
        """The grain, observer or silo service that is called. It cannot be changed."""
        return self._grain_id

    @property
    def method(self) -> str:
        """The name of the method, or of a timer's callback. It cannot be changed."""
        return self._method

    @property
    def caller(self) -> Identity | None:
        """The identity of an incoming call, or of the turn that makes an outgoing one: see `grange.caller`."""
        return caller()

    def __repr__(self) -> str:
        return f"<{self.direction} call to {self.grain_id}.{self.method}>"

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments by their names, with defaults; read-only. To change some, see `replace`."""
        parameters = self._parameters
        given = dict(zip((parameter.name for parameter in parameters), self.args, strict=False))
        rest = {each.name: each.default for each in parameters[len(given) :] if each.default is not each.empty}
        return MappingProxyType(given | rest)

    def replace(self, **arguments: Any) -> None:
        """Give the method other values for these arguments. Raises TypeError for a name that it does not have."""
        names = [parameter.name for parameter in self._parameters]
        if unknown := sorted(arguments.keys() - set(names)):
            raise TypeError(f"{self.method} has no argument {', '.join(unknown)}; it has: {', '.join(names) or 'none'}")
        values = {**self.arguments, **arguments}
        self.args = tuple(values[name] for name in names)

    def skip(self) -> None:
        """Say that this filter answers without the method on purpose, also if it returns None."""
        self.skipped = True


class Filter(Protocol):
    """A filter: an `async def f(call, proceed)`, a bound method, or an object with an async `__call__`."""

    def __call__(self, call: Call, proceed: Proceed, /) -> Awaitable[Any]:
        """Return the result of the call: that of `await proceed()`, or another one."""
        ...


def call_to(
    grain_id: GrainId,
    method: MethodSpec,
    args: tuple[Any, ...],
    direction: Direction = "incoming",
    source: GrainId | None = None,
) -> Call:
    """A call of a method, for its filters."""
    call = Call(grain_id, method.name, args, method.function, direction, method.parameters)
    call.source = source
    call.streams = method.streams
    return call


def as_filters(argument: str, given: Iterable[Filter]) -> tuple[Filter, ...]:
    """The filters of a silo or client. Raises ConfigurationError for anything but a list of filters.

    `argument` is the name of the option, for the message.
    """
    shape = "async def f(call, proceed)"
    if not isinstance(cast("object", given), Iterable) or isinstance(given, str | bytes):
        raise ConfigurationError(f"{argument}= is a list of filters ({shape}), not {given!r:.100}")
    filters = tuple(given)
    for each in filters:
        if isinstance(each, type) or not (_is_async(each) or _is_async(getattr(each, "__call__", None))):  # noqa: B004
            raise ConfigurationError(f"{argument}= is a list of filters; write {shape}, not {each!r:.100}")
        try:
            inspect.signature(each).bind("call", "proceed")
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{argument}=: {each!r:.100} is called as {shape}: {error}") from None
    return filters


def _is_async(candidate: object) -> bool:
    while isinstance(candidate, partial):
        candidate = cast("partial[object]", candidate).func
    return inspect.iscoroutinefunction(candidate)
