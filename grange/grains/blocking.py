"""`@blocking` runs a plain method in a thread; `from_thread` lets such a method await something in its turn."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from grange.aio.blocking_threads import BlockingThreads, current_job
from grange.errors import ConfigurationError
from grange.grains.context import context_values
from grange.grains.decorators import mark, written

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


class RunsInThread(Protocol):
    """What a blocking method needs of the context of its grain (`GrainContext`)."""

    async def run_in_thread(self, method: Callable[..., Any], function: Callable[[], R]) -> R:
        """Run the function of this method in a thread."""
        ...


@written()
def blocking(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Run a plain `def` method in a thread of the silo, so that it may block. Callers await it like any other method.

    Its turn ends when the method has returned: no other code of the activation runs meanwhile, not even a method that
    always interleaves. It reads `request_context`, and calls grains and its state by `from_thread`. A turn that waits
    for a free thread has not started: it is dropped when its caller is gone or its time is over. One that runs
    completes, because a thread cannot be interrupted.

    Raises ConfigurationError for anything but a plain function.
    """
    _check_plain(method)

    @functools.wraps(method)
    async def in_thread(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        function = functools.partial(method, self, *args, **kwargs)
        context: RunsInThread | None = getattr(self, "_grange", None)
        if context is None:  # a unit test has built the grain
            return await run_alone(function)
        return await context.run_in_thread(in_thread, function)

    mark(in_thread, blocking=True)
    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, R]]", in_thread)


def _check_plain(method: Callable[..., Any]) -> None:
    if not inspect.isfunction(method):
        raise ConfigurationError(f"@blocking decorates a plain def, not {method!r}; put it below the other decorators")
    place = method.__qualname__.rpartition("<locals>.")[2]
    if inspect.iscoroutinefunction(method):
        raise ConfigurationError(
            f"@blocking runs a plain def in a thread, and {place} is an async def; write it without async, and put "
            "@blocking below the other decorators"
        )
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise ConfigurationError(f"@blocking runs a plain def in a thread, and {place} is a generator; return a list")


async def run_alone(function: Callable[[], R]) -> R:
    """Run a function in a thread of its own, without a silo."""
    threads = BlockingThreads(1)
    try:
        return await threads.run(function)
    finally:
        threads.close()


def from_thread(function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Have the turn of a `@blocking` method await `function(*args)`, and return its result or raise its error.

    `from_thread(self.state.write)` or `from_thread(other.add, 5)`. The request context of the thread goes along. Raises
    RuntimeError outside the thread of a blocking method, CancelledError if the turn was cancelled, and TypeError for a
    call in place of the function.
    """
    if inspect.iscoroutine(function):
        function.close()
        raise TypeError("from_thread takes the function and its arguments: from_thread(other.add, 5), not other.add(5)")
    job = current_job.get()
    if job is None:
        raise RuntimeError("from_thread belongs into a @blocking method; in an async def, await the call itself")
    values = context_values.get()

    async def in_turn() -> R:
        context_values.set(values)
        return await function(*args, **kwargs)

    return cast("R", job.await_in_task(in_turn))
