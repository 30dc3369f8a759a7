"""Timers of one activation. A tick is a queued request of its own activation and obeys the same rules.

The next tick is due one period after the end of the last one, so a timer never overlaps itself.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Any, Protocol

from grange.aio.loop_binding import LoopBinding
from grange.grains.options import MAX_SECONDS, is_number
from grange.grains.ref import Reference
from grange.observability.counters import TICKS
from grange.observability.spans import Spans
from grange.observability.steps import link_here
from grange.proto.ids import GrainId
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.tick import Tick

MIN_PERIOD = 0.001
"""Smallest period, in seconds: with a period of 0 the timer would tick without end and use a whole processor."""

FENCED_RETRY_DELAY = 1.0
"""Seconds after which a tick that a fenced silo refused is tried again."""


class TimerDeps(Protocol):
    """What a timer needs of its silo (`deps.py`)."""

    @property
    def binding(self) -> LoopBinding:
        """The event loop of the silo."""
        ...

    @property
    def spans(self) -> Spans | None:
        """Begins the traces of ticks; None without telemetry."""
        ...


class GrainTimer:
    """One timer (`grains.grain.Timer`). `deliver` hands a tick to the activation.

    `principal` is the identity of its ticks: that of the grain, not of the call in which the timer was made.
    Each tick begins a trace, linked to the turn that made the timer.

    Raises TypeError for a callback that is no async function without arguments: each tick would fail.
    """

    __slots__ = (
        "_binding",
        "_callback",
        "_changes",
        "_deliver",
        "_grain_id",
        "_handle",
        "_interleave",
        "_keep_alive",
        "_link",
        "_period",
        "_spans",
        "principal",
        "stopped",
    )

    def __init__(
        self,
        grain_id: GrainId,
        callback: Callable[[], Awaitable[None]],
        deliver: Callable[[Invocation], None],
        interleave: bool,
        keep_alive: bool,
        deps: TimerDeps,
    ) -> None:
        check_callback(callback)
        self._grain_id = grain_id
        self._binding = deps.binding
        self._callback = callback
        self._deliver = deliver
        self._interleave = interleave
        self._keep_alive = keep_alive
        self._spans = deps.spans
        self._link = "" if deps.spans is None else link_here()
        self._period: float | None = None
        self.principal = b""
        self._changes = 0  # number of calls of `change`; a tick is valid only until the next one
        self._handle: asyncio.TimerHandle | None = None
        self.stopped = False

    def stop(self) -> None:
        """Stop the timer: no tick starts after this."""
        self.stopped = True
        self._cancel()

    def change(self, due: float | None, period: float | None = None) -> None:
        """Tick in `due` seconds (None: never), then `period` seconds after each tick ends (None: once).

        Restarts a stopped timer.

        Raises TypeError for a time that is no number, ValueError for a negative time, one over ten years, and a period
        below MIN_PERIOD, and WrongLoop in another event loop or thread.
        """
        self._binding.check(f"change of a timer of {self._grain_id}")
        check_times(due, period)
        self.stopped = False
        self._period = period
        self._cancel()
        self._changes += 1
        if due is not None:
            self._schedule(due)

    @property
    def name(self) -> str:
        """The name of its callback."""
        return name_of(self._callback)

    @property
    def period(self) -> float | None:
        """Seconds between two ticks; None: it ticks once."""
        return self._period

    @property
    def due(self) -> float | None:
        """Loop time of the next tick; None: none is scheduled, or a tick waits or runs."""
        return None if self._handle is None else self._handle.when()

    def _schedule(self, seconds: float) -> None:
        # Without its context, which would hold the turn that set the timer.
        self._handle = asyncio.get_running_loop().call_later(seconds, self._fire, context=Context())

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        trace = None if self._spans is None else self._spans.tick(self._grain_id.type, self._link)
        run = partial(self._run, self._changes)
        tick = Tick(self._grain_id, TICKS, math.inf, None, trace, run, self._ended, self._postpone)
        tick.always_interleave = self._interleave
        tick.keeps_alive = self._keep_alive
        tick.principal = self.principal
        self._deliver(tick)

    async def _run(self, change: int) -> None:
        if not self.stopped and change == self._changes:  # else it was stopped or changed while the tick waited
            await self._callback()

    def _postpone(self) -> None:
        if not self.stopped and self._handle is None:
            self._schedule(FENCED_RETRY_DELAY)

    def _ended(self) -> None:
        if not self.stopped and self._handle is None and self._period is not None:
            self._schedule(self._period)


def check_times(due: float | None, period: float | None) -> None:
    """Raise TypeError or ValueError for times that a timer does not take (`GrainTimer.change`)."""
    _check_seconds("due", due, 0)
    _check_seconds("period", period, MIN_PERIOD)


def _check_seconds(name: str, seconds: float | None, least: float) -> None:
    if seconds is None:
        return
    if not is_number(seconds):
        raise TypeError(f"timer {name}={seconds!r} must be a number of seconds")
    if not least <= seconds <= MAX_SECONDS:
        raise ValueError(f"timer {name}={seconds!r} must be between {least:g} and {MAX_SECONDS:.0f} seconds")


def name_of(callback: Callable[[], Awaitable[None]]) -> str:
    """The name of a timer's callback."""
    while isinstance(callback, partial):
        callback = callback.func
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))


def check_callback(callback: Any) -> None:
    """Raise TypeError unless the callback is an async function that needs no arguments."""
    if inspect.iscoroutine(callback):
        callback.close()  # it will never run; without this, Python would warn that it was never awaited
        name = callback.__name__
        raise TypeError(f"a timer's callback is the function itself: write self.{name}, not self.{name}()")
    if not _is_async(callback):
        raise TypeError(
            f"a timer's callback must be an async def, a method or functools.partial of one, not {callback!r}"
        )
    try:
        inspect.signature(callback).bind()
    except (TypeError, ValueError) as error:
        raise TypeError(f"a timer calls {callback!r} without arguments ({error}); use functools.partial") from None


def _is_async(callback: Any) -> bool:
    while isinstance(callback, partial):
        callback = callback.func
    is_method = isinstance(getattr(callback, "__self__", None), Reference)  # a call by a reference is awaited too
    return is_method or inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)
