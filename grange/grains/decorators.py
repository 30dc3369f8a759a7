"""Method options, as decorators. They record the options on the function; `interface.py` reads them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast, overload

import msgspec

from grange.errors import ConfigurationError
from grange.grains.options import is_seconds
from grange.security.rule import check_requires

F = TypeVar("F", bound=Callable[..., Any])
D = TypeVar("D", bound=Callable[..., Any])

_OPTIONS = "__grange_method__"
_WRAPPED = ("__func__", "fget", "func")
"""Where classmethod, staticmethod, property, cached_property and partialmethod keep the function they wrap."""


class CallRate(msgspec.Struct, frozen=True):
    """At most `calls` in `seconds` on average, and `burst` at once, for each grain ("grain") or for all ("method").

    `caller` is a key of the request context: each of its values has a rate of its own.
    """

    calls: int
    seconds: float
    burst: int
    per: str
    caller: str | None

    def __str__(self) -> str:
        caller = f", caller={self.caller!r}" if self.caller else ""
        burst = f", burst={self.burst}" if self.burst != self.calls else ""
        return f"@rate_limited({self.calls}, {self.seconds:g}, per={self.per!r}{caller}{burst})"


class MethodOptions(msgspec.Struct, frozen=True):
    """The options of one method. `timeout` is in seconds (None: the default of the silo or client).

    cancellable: a turn that runs is interrupted when its caller is cancelled.
    awaits_end: a caller that is cancelled waits for the end of the turn; end_timeout: for at most so many seconds.
    cancels: a call whose time is over is cancelled like one whose caller is.
    blocking: it runs in a thread; this is about one function, so no other inherits it.
    transactional: what it changes in the states of its grain is stored as a whole.
    keep: seconds for which the answer of a call with an idempotency key is kept; None: it is not.
    requires: what its caller needs: one word of each (`security/rule.py`).
    audited: its calls are in the audit.
    """

    read_only: bool = False
    always_interleave: bool = False
    one_way: bool = False
    timeout: float | None = None
    cancellable: bool = False
    awaits_end: bool = False
    cancels: bool = False
    blocking: bool = False
    end_timeout: float | None = None
    rates: tuple[CallRate, ...] = ()
    transactional: bool = False
    keep: float | None = None
    requires: tuple[tuple[str, ...], ...] = ()
    audited: bool = False

    def over(self, inherited: MethodOptions) -> MethodOptions:
        """These options on top of those of a base class or interface: they add up, the nearest time-out counts."""
        timed = inherited if self.timeout is None else self
        return MethodOptions(
            self.read_only or inherited.read_only,
            self.always_interleave or inherited.always_interleave,
            self.one_way or inherited.one_way,
            timed.timeout,
            self.cancellable or inherited.cancellable,
            self.awaits_end or inherited.awaits_end,
            timed.cancels,
            rates=(*self.rates, *inherited.rates),
            transactional=self.transactional or inherited.transactional,
            keep=inherited.keep if self.keep is None else self.keep,
            requires=(*self.requires, *(each for each in inherited.requires if each not in self.requires)),
            audited=self.audited or inherited.audited,
        )

    def __str__(self) -> str:
        """The decorators: `@read_only, @response_timeout(5)`."""
        found = [f"@{name}" for name in _FLAGS if getattr(self, name)]
        if self.transactional:
            found.append("@transactional" if self.keep is None else f"@idempotent(keep={self.keep:g})")
        if self.cancellable:
            found.append("@cancellable(wait=True)" if self.awaits_end else "@cancellable")
        if self.timeout is not None:
            found.append(f"@response_timeout({self.timeout:g}{', cancel=True' if self.cancels else ''})")
        needs = [f"@requires({', '.join(map(repr, words))})" for words in self.requires]
        return ", ".join([*found, *map(str, self.rates), *needs])


_FLAGS = ("read_only", "always_interleave", "one_way", "blocking", "audited")

NO_OPTIONS = MethodOptions()


def method_options(function: object) -> MethodOptions:
    """The options recorded on a function, or the defaults."""
    recorded = getattr(function, _OPTIONS, NO_OPTIONS)
    return recorded if type(recorded) is MethodOptions else NO_OPTIONS


def hidden_options(member: object) -> MethodOptions:
    """The options recorded on a function that a property, classmethod or the like wraps, where they have no effect."""
    found = [method_options(getattr(member, name, None)) for name in _WRAPPED]
    return next((options for options in (method_options(member), *found) if options != NO_OPTIONS), NO_OPTIONS)


def written(form: str = "") -> Callable[[D], D]:
    """Have a decorator refuse other arguments with the form in which it is written (default: without parentheses).

    Type checkers refuse them, too.
    """

    def check(decorator: D) -> D:
        signature, name = inspect.signature(decorator), decorator.__name__

        @functools.wraps(decorator)
        def checked(*given: Any, **options: Any) -> Any:
            try:
                signature.bind(*given, **options)
            except TypeError:
                right = form or f"@{name} without parentheses"
                raise ConfigurationError(f"a wrong form of @{name}: write {right}") from None
            return decorator(*given, **options)

        return cast("D", checked)

    return check


def check_flag(place: str, value: object) -> None:
    """Raise ConfigurationError for anything but True and False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{place} is True or False, not {value!r:.100}")


@written()
def read_only(method: F) -> F:
    """Declare that the method changes no state: it may run beside other read-only calls of the same activation."""
    return _record(method, read_only=True)


@written()
def always_interleave(method: F) -> F:
    """Let the method run beside any other call of the same activation. The state may change at each of its awaits."""
    return _record(method, always_interleave=True)


@written()
def one_way(method: F) -> F:
    """Have the caller wait only until a silo accepts the call. Errors of the method are logged, not raised.

    The method must return None.
    """
    return _record(method, one_way=True)


@written()
def transactional(method: F) -> F:
    """Store what the method changes in the states of its grain as a whole, when it ends; drop it if the method raises.

    All changed states are stored in one step, and `write()` is neither needed nor allowed. If the method raises, or the
    store refuses, each state has its value from before the call again. Nothing changed: nothing is written. No other
    turn of the activation runs beside the method.
    """
    return _record(method, transactional=True)


@written()
def audited(method: F) -> F:
    """Have each call of the method in the audit: a row before it, and one after it with its outcome.

    The rows say who called, and for which grain; they have no argument, no result, and of an error its type alone.
    With the option `audit_required` a call whose first row cannot be stored is refused, and certainly not executed.
    """
    return _record(method, audited=True)


@written("@idempotent(keep=86400)")
def idempotent(*, keep: float) -> Callable[[F], F]:
    """Run a call with an idempotency key once, and answer its repetitions with the kept answer, for `keep` seconds.

    A caller gives the key by `with idempotency_key("order-17"):`. The method is `@transactional`: its answer is stored
    in the same step as what it changes. A call that fails keeps nothing, and may be repeated with its key. A call
    without a key runs as that of any transactional method. `keep` counts by the clock of the store.
    """
    if not is_seconds(keep):
        raise ConfigurationError(
            f"idempotent: keep must be a positive number of seconds, not {keep!r}: write @idempotent(keep=86400)"
        )
    return lambda method: _record(method, transactional=True, keep=float(keep))


def response_timeout(seconds: float, *, cancel: bool = False) -> Callable[[F], F]:
    """Set the response time-out of the method in seconds, instead of the default of the silo or client.

    `cancel`: a call whose time is over is cancelled, as by its caller. The method must be `@cancellable`.
    """
    if not is_seconds(seconds):
        hint = ": write @response_timeout(5)" if callable(cast("object", seconds)) else ""
        raise ConfigurationError(f"response_timeout must be a positive number of seconds, not {seconds!r}{hint}")
    check_flag("cancel= of @response_timeout", cancel)
    return lambda method: _record(method, timeout=float(seconds), cancels=cancel)


@overload
def cancellable(method: F, /) -> F: ...
@overload
def cancellable(*, wait: bool = False) -> Callable[[F], F]: ...
def cancellable(method: F | None = None, /, *, wait: bool = False) -> F | Callable[[F], F]:
    """Interrupt the method when its caller is cancelled: `asyncio.CancelledError` is raised where it awaits.

    Without it a turn that runs completes, whether its caller waits or not. `wait`: a caller that is cancelled waits for
    the end of the turn; it gets the result of a method that completed all the same.
    """
    if isinstance(cast("object", method), bool):
        raise ConfigurationError(f"@cancellable takes its option by name: write @cancellable(wait={method})")
    if method is not None:
        return _record(method, cancellable=True)
    check_flag("wait= of @cancellable", wait)
    return lambda method: _record(method, cancellable=True, awaits_end=wait)


def rate_limited(
    calls: int, seconds: float = 1.0, *, burst: int | None = None, per: str = "grain", caller: str | None = None
) -> Callable[[F], F]:
    """Take at most `calls` of the method in `seconds` on average, and `burst` (default: `calls`) at once.

    `per="grain"`: each grain has this rate; `per="method"`: all grains of the class in one silo share it. With
    `caller="user"` each value of that key in the request context has a rate of its own. Several rates of one method
    hold together.

    A call over the rate is refused as Overloaded with `retry_after`, and certainly not executed. A grain that moves to
    another silo starts with a fresh rate. Raises ConfigurationError for values out of range.
    """
    rate = CallRate(calls, seconds, calls if burst is None else burst, per, caller)
    for wrong, text in _bad_rate(rate):
        if wrong:
            raise ConfigurationError(f"rate_limited: {text}")
    return lambda method: _record(method, rates=(*method_options(method).rates, rate))


def requires(*who: str) -> Callable[[F], F]:
    """Refuse callers of the method that are none of these, such as `@requires("role:admin", "tenant:acme")`.

    The words are those of `who` in `[[allow]]`; one that fits is enough. Of several decorators, and of those that a
    method inherits, each must be fulfilled, besides the rules of the silo. A refused call raises Unauthorized at its
    caller, and is certainly not executed. Raises ConfigurationError for a word that is none.
    """
    try:
        words = check_requires(who)
    except ValueError as error:
        raise ConfigurationError(f'requires: {error}: write @requires("role:admin")') from None
    return lambda method: _record(method, requires=(words, *method_options(method).requires))


def _bad_rate(rate: CallRate) -> Iterator[tuple[bool, str]]:
    """Check each value. Lazy, so a later check may rely on an earlier one."""
    for name in ("calls", "burst"):
        value = cast("object", getattr(rate, name))
        hint = ": write @rate_limited(10)" if callable(value) else ""
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        yield not is_count, f"{name} must be a whole number, 1 or more, not {value!r}{hint}"
    yield not is_seconds(rate.seconds), f"seconds must be a positive number, not {rate.seconds!r}"
    yield rate.per not in ("grain", "method"), f'per must be "grain" or "method", not {rate.per!r}'
    caller = cast("object", rate.caller)
    is_name = caller is None or (isinstance(caller, str) and caller.strip() != "")
    yield not is_name, f"caller must name a key of the request context, not {caller!r}"


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
