"""Runs plain functions that block in a bounded number of threads, each in the name of the task that waits for it.

A function may have its task await something: `BlockingJob.await_in_task`. Its thread rests meanwhile. So the code of a
task and that of its thread never run at once, and a cancellation of the task is exact: it takes effect while the task
waits for a free thread or awaits something for its thread. While the function itself runs, it is kept for later.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Ended:
    """The function has ended, with a value or an error."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error


class _Rests:
    """The thread rests until the task has awaited this."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], Awaitable[Any]]) -> None:
        self.function = function


class BlockingJob:
    """One function in its thread. `segment` is done when the function has ended, or its thread rests."""

    __slots__ = ("_answers", "_closed", "_function", "_thread", "segment")

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._answers: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
        self._closed = False
        self._thread = 0
        self.segment: Future[_Ended | _Rests] = Future()

    def work(self) -> None:
        """Run the function. Called in a thread of the pool."""
        self._thread = threading.get_ident()
        current_job.set(self)
        try:
            ended = _Ended(self._function())
        except StopIteration as error:  # a coroutine, which raises it in the end, must not
            ended = _Ended(error=RuntimeError("a blocking function raised StopIteration"))
            ended.error.__cause__ = error  # type: ignore[union-attr]
        except BaseException as error:  # raised in the task
            ended = _Ended(error=error)
        self._function = _nothing
        self.segment.set_result(ended)

    def await_in_task(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Have the task await what `function` returns, and return or raise its outcome. Called in the job's thread."""
        if threading.get_ident() != self._thread:
            raise RuntimeError("only the thread of a @blocking method may use its turn, not a thread that it starts")
        if self._closed:
            raise asyncio.CancelledError
        segment, self.segment = self.segment, Future()
        segment.set_result(_Rests(function))
        answer = self._answers.get()
        if answer.error is not None:
            raise answer.error
        return answer.value

    def resume(self, answer: _Ended) -> Future[_Ended | _Rests]:
        """Give a resting thread its answer. Returns the next segment."""
        segment = self.segment
        self._answers.put(answer)
        return segment

    def close(self) -> None:
        """Let a thread that rests now or later end: no task waits for it any more."""
        self._closed = True
        self._answers.put(_Ended(error=asyncio.CancelledError()))


current_job: ContextVar[BlockingJob | None] = ContextVar("grange_blocking_job", default=None)
"""The job whose function runs in this thread."""


class BlockingThreads:
    """At most `most` threads, made when they are needed. Make it in the event loop that uses it.

    `busy` functions run, and `waiting` ones wait for a free thread.
    """

    def __init__(self, most: int) -> None:
        self._slots = asyncio.Semaphore(most)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self.busy = 0
        self.waiting = 0

    async def run(self, function: Callable[[], T], may_start: Callable[[], None] | None = None) -> T:
        """Run a function in a thread, in a copy of the running context, and return or raise its outcome.

        `may_start` is called after a wait for a free thread: if it raises, the function does not run.
        """
        if self._slots.locked():
            self.waiting += 1
            try:
                await self._slots.acquire()
            finally:
                self.waiting -= 1
        else:
            await self._slots.acquire()  # at once
            may_start = None
        self.busy += 1
        try:
            if may_start is not None:
                may_start()
            return cast("T", await self._run(function))
        finally:
            self.busy -= 1
            self._slots.release()

    def close(self) -> None:
        """End the threads that are free. Those that run a function end after it, and do not keep the process alive."""
        for _ in range(self._threads):
            self._jobs.put(None)

    async def _run(self, function: Callable[[], Any]) -> Any:
        job = BlockingJob(function)
        cancelled: list[asyncio.CancelledError] = []
        try:
            step = await _segment(lambda: self._begin(job), cancelled)
            while isinstance(step, _Rests):
                answer = await _answer(step, cancelled)
                step = await _segment(lambda: job.resume(answer), cancelled)  # noqa: B023
        finally:
            job.close()
        if cancelled:
            raise cancelled.pop()
        try:
            if step.error is not None:
                raise step.error
            return step.value
        finally:
            del step  # else an error and this frame form a cycle

    def _begin(self, job: BlockingJob) -> Future[_Ended | _Rests]:
        if self._threads < self.busy:
            self._threads += 1
            threading.Thread(target=_work, args=(self._jobs,), name="grange-blocking", daemon=True).start()
        context, segment = contextvars.copy_context(), job.segment
        self._jobs.put(lambda: context.run(job.work))
        return segment


def _work(jobs: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    """One thread: run the jobs until there is a None."""
    while (job := jobs.get()) is not None:
        job()
        del job


async def _answer(step: _Rests, cancelled: list[asyncio.CancelledError]) -> _Ended:
    """Await something for a resting thread. A cancellation that was kept is raised in the thread instead."""
    if cancelled:
        return _Ended(error=cancelled.pop())
    try:
        return _Ended(await step.function())
    except GeneratorExit:
        raise
    except BaseException as error:  # raised in the thread
        return _Ended(error=error)


async def _segment(
    begin: Callable[[], Future[_Ended | _Rests]], cancelled: list[asyncio.CancelledError]
) -> _Ended | _Rests:
    """Wait until the thread rests or ends. A cancellation is kept in `cancelled`: the thread cannot be interrupted."""
    # By way of the loop's executor, so that virtual time stands still meanwhile.
    future: asyncio.Future[Any] = asyncio.get_running_loop().run_in_executor(_DIRECT, begin)
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled[:] = [error]
    return cast("_Ended | _Rests", future.result())


class _Direct(Executor):
    """Calls each function at once; it returns the future of work that begins elsewhere."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return cast("Future[Any]", fn(*args, **kwargs))


_DIRECT = _Direct()


def _nothing() -> None:
    """Stands in for a function that has run, so that its arguments are freed."""
