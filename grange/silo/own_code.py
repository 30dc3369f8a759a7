"""The application's own code beside its grains: start-up tasks, and background services that run as long as the silo.

A start-up task that fails stops the start. A background service that fails is reported and started again after a
growing pause: the silo and its grains serve on meanwhile.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, cast

import msgspec

from grange.aio.backoff import Backoff
from grange.aio.tasks import Tasks
from grange.errors import ConfigurationError, StartupFailed
from grange.observability.application_events import BackgroundFailed
from grange.observability.events import Events

RESTART_FIRST, RESTART_LIMIT = 1.0, 60.0
"""Seconds of the first and the longest pause before a background service that failed runs again."""

STEADY = 60.0
"""Seconds after which a run counts as successful: the next failure starts from the first pause again."""

Function = Callable[[Any], Awaitable[None]]


class Work(msgspec.Struct, frozen=True, eq=False):
    """One function of the application with its name. It takes the silo."""

    name: str
    function: Function


def as_work(option: str, functions: Iterable[Function]) -> tuple[Work, ...]:
    """Normalise `startup=` or `background=` of `Silo`. Raises ConfigurationError for anything but async functions."""
    if not isinstance(cast("object", functions), Iterable) or isinstance(functions, str | bytes):
        raise ConfigurationError(f"{option}= is a list of async functions that take the silo, not {functions!r:.100}")
    found: list[Work] = []
    for function in functions:
        called = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004
        if not inspect.iscoroutinefunction(called):
            raise ConfigurationError(
                f"{option}= is a list of async functions that take the silo; {function!r:.100} is none"
            )
        try:
            inspect.signature(function).bind("silo")
        except TypeError as error:
            raise ConfigurationError(f"{option}=: {function!r:.100} must take the silo: {error}") from None
        found.append(Work(str(getattr(function, "__qualname__", function))[:100], function))
    return tuple(found)


def functions_of(option: str, functions: Iterable[Function]) -> tuple[Function, ...]:
    """The functions of `startup=` or `background=`, for several silos. Raises ConfigurationError as `as_work` does."""
    return tuple(each.function for each in as_work(option, functions))


class Definition(Protocol):
    """The application's part of a silo: `silo/definition.py`."""

    @property
    def silo(self) -> object:
        """The object that the functions get."""
        ...

    @property
    def startup(self) -> tuple[Work, ...]:
        """The start-up tasks, in order."""
        ...

    @property
    def background(self) -> tuple[Work, ...]:
        """The background services."""
        ...


class OwnCode:
    """The start-up tasks and background services of one silo. In order: `start_up`, `run`, `stop`."""

    def __init__(self, definition: Definition, events: Events, rng: random.Random) -> None:
        self._silo = definition.silo
        self._startup, self._background = definition.startup, definition.background
        self._events = events
        self._random = rng
        self._tasks = Tasks()

    async def start_up(self) -> None:
        """Run the start-up tasks, one after the other. Raises StartupFailed with the name of the one that failed."""
        for work in self._startup:
            try:
                await work.function(self._silo)
            except Exception as error:
                text = f"start-up task {work.name!r} failed: {type(error).__name__}: {error}"
                raise StartupFailed(text) from error

    def run(self) -> None:
        """Start the background services."""
        for work in self._background:
            self._tasks.start(self._keep_running(work))

    async def stop(self, seconds: float | None = None) -> None:
        """Cancel the background services and wait until they have ended; those that do not in time are logged."""
        await self._tasks.close(seconds)

    async def _keep_running(self, work: Work) -> None:
        """Run it again after each failure; not after it has returned."""
        loop, backoff = asyncio.get_running_loop(), Backoff(RESTART_FIRST, RESTART_LIMIT, self._random)
        while True:
            began = loop.time()
            try:
                await work.function(self._silo)
                return
            except Exception as error:
                if loop.time() - began >= STEADY:
                    backoff.reset()
                pause = backoff.pause()
                text = f"{type(error).__name__}: {error}"[:500]
                self._events.publish(BackgroundFailed(work.name, text, pause), error)
            await asyncio.sleep(pause)
