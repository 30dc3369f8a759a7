"""Eager starts: the first step runs at once, as the new task, on every loop, with a task factory or without."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
import uvloop

from grange.aio.eager import MAX_DEPTH, MAX_IN_A_ROW, EagerStart

Test = Callable[[], Awaitable[None]]
RunIt = Callable[[Test], None]

word: ContextVar[str] = ContextVar("word", default="")


class OwnTask(asyncio.Task[Any]):
    """A task of a task factory."""


def make_own_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> OwnTask:
    return OwnTask(coroutine, loop=loop, **options)


LOOPS = [loop + mode for loop in ("asyncio", "uvloop") for mode in ("", " debug", " factory")]
if sys.version_info >= (3, 12):
    LOOPS.append("asyncio eager factory")  # uvloop does not support it


@pytest.fixture(params=LOOPS)
def run_it(request: pytest.FixtureRequest) -> Iterator[RunIt]:
    """Run a test in each loop."""
    name, _, mode = request.param.partition(" ")
    make: Callable[[], asyncio.AbstractEventLoop] = (
        uvloop.new_event_loop if name == "uvloop" else asyncio.new_event_loop
    )

    async def within(test: Test) -> None:
        loop = asyncio.get_running_loop()
        problems: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, problem: problems.append(problem))
        if mode == "factory":
            loop.set_task_factory(make_own_task)  # type: ignore[arg-type]
        if mode == "eager factory" and sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        await test()
        gc.collect()
        assert not problems
        assert "call_soon" not in vars(loop)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=make, debug=mode == "debug") as runner:
        yield lambda test: runner.run(within(test))


def test_a_coroutine_that_never_suspends_ends_before_start_returns(run_it: RunIt) -> None:
    async def test() -> None:
        async def quick() -> None: ...

        assert EagerStart().start(quick()).done()

    run_it(test)


def test_the_first_step_and_the_later_ones_run_as_the_new_task(run_it: RunIt) -> None:
    async def test() -> None:
        seen: list[Any] = []

        async def look() -> None:
            seen.append(asyncio.current_task())
            assert asyncio.current_task() in asyncio.all_tasks()
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())

        outer = asyncio.current_task()
        task = EagerStart().start(look())
        assert asyncio.current_task() is outer
        assert len(seen) == 1
        await task
        assert seen == [task, task]
        assert isinstance(task, asyncio.Task)
        assert task.get_name() == "turn"

    run_it(test)


def test_a_callback_of_the_loop_may_start_one(run_it: RunIt) -> None:
    """No task runs there."""

    async def test() -> None:
        seen: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        async def look() -> None:
            current.append(asyncio.current_task())

        current: list[Any] = []

        def start() -> None:
            task = EagerStart().start(look())
            seen.set_result([*current, task, asyncio.current_task()])

        asyncio.get_running_loop().call_soon(start)
        first, task, after = await seen
        assert first is task
        assert after is None

    run_it(test)


def test_its_context_is_its_own(run_it: RunIt) -> None:
    async def test() -> None:
        seen: list[str] = []

        async def change() -> None:
            seen.append(word.get())
            word.set("inner")
            await asyncio.sleep(0)
            seen.append(word.get())

        word.set("outer")
        await EagerStart().start(change())
        assert seen == ["", "inner"]
        assert word.get() == "outer"

    run_it(test)


def test_a_timeout_of_the_first_step_cancels_the_new_task_only(run_it: RunIt) -> None:
    async def test() -> None:
        outcomes: list[str] = []

        async def wait() -> None:
            try:
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            except TimeoutError:
                outcomes.append("timed out")

        await EagerStart().start(wait())
        assert outcomes == ["timed out"]

    run_it(test)


def test_a_task_group_of_the_first_step_belongs_to_the_new_task(run_it: RunIt) -> None:
    async def test() -> None:
        outcomes: list[Any] = []

        async def fail() -> None:
            raise ValueError("x")

        async def group() -> None:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(fail())
                    await asyncio.Event().wait()
            except* ValueError as errors:
                outcomes.append(len(errors.exceptions))

        await EagerStart().start(group())
        assert outcomes == [1]

    run_it(test)


def test_it_can_be_cancelled(run_it: RunIt) -> None:
    async def test() -> None:
        task = EagerStart().start(_forever())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_it(test)


def test_a_cancellation_in_the_first_step_is_delivered_at_its_first_wait(run_it: RunIt) -> None:
    async def test() -> None:
        async def cancel_itself() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.Event().wait()

        with pytest.raises(asyncio.CancelledError):
            await EagerStart().start(cancel_itself())
        current = asyncio.current_task()
        assert current is not None
        assert not current.cancelling()

    run_it(test)


def test_an_error_of_the_first_step_stays_in_the_task(run_it: RunIt) -> None:
    async def test() -> None:
        async def fail() -> None:
            raise ValueError("x")

        task = EagerStart().start(fail())
        assert task.done()
        with pytest.raises(ValueError, match="x"):
            await task

    run_it(test)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_of_the_first_step_is_raised(run_it: RunIt, error: type[BaseException]) -> None:
    """As a task of asyncio raises it through its loop."""

    async def test() -> None:
        tasks: list[asyncio.Task[Any] | None] = []

        async def leave() -> None:
            tasks.append(asyncio.current_task())
            raise error

        outer = asyncio.current_task()
        with pytest.raises(error):
            EagerStart().start(leave())
        assert asyncio.current_task() is outer
        (task,) = tasks
        assert task is not None
        assert isinstance(task.exception(), error)

    run_it(test)


def test_nested_starts_are_bounded(run_it: RunIt) -> None:
    """Deeper tasks start from the loop, so a long chain of calls needs no deep stack."""

    async def test() -> None:
        eager, nested, deepest = EagerStart(), 0, 0

        async def dive(levels: int) -> None:
            nonlocal nested, deepest
            nested += 1
            deepest = max(deepest, nested)
            current = asyncio.current_task()
            started = eager.start(dive(levels - 1)) if levels else None
            assert asyncio.current_task() is current
            nested -= 1
            if started is not None:
                await started

        await eager.start(dive(200))
        assert deepest == MAX_DEPTH + 1  # inside one task that the loop itself started

    run_it(test)


class Careless:
    """Its finalizer uses the loop and starts a task: the garbage collector may run it at any moment."""

    def __init__(self, eager: EagerStart, notes: list[str]) -> None:
        self.eager, self.notes = eager, notes

    def __del__(self) -> None:
        async def start() -> None:
            self.notes.append("started")

        asyncio.get_running_loop().call_soon(self.notes.append, "called")
        self.eager.start(start())


def test_after_many_starts_in_a_row_one_is_left_to_the_loop(run_it: RunIt) -> None:
    """So the loop runs beside code that never suspends and starts tasks without end."""

    async def test() -> None:
        rounds = 0

        def count() -> None:
            nonlocal rounds
            rounds += 1

        async def quick() -> None: ...

        eager = EagerStart()
        asyncio.get_running_loop().call_soon(count)
        for _ in range(MAX_IN_A_ROW + 1):
            late = eager.start(quick())
            if not late.done():
                break
        assert not late.done()
        assert rounds == 0
        await late
        assert rounds == 1
        assert all(eager.start(quick()).done() for _ in range(MAX_IN_A_ROW))
        last = eager.start(quick())
        assert not last.done()
        await last

    run_it(test)


def test_a_finalizer_may_run_while_a_task_is_made(run_it: RunIt) -> None:
    """Its callback is called and its task runs, and so does the task that was being made."""

    async def test() -> None:
        eager, notes = EagerStart(), list[str]()
        careless = [Careless(eager, notes)]

        def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            careless.clear()
            return asyncio.Task(coroutine, loop=loop, **options)

        asyncio.get_running_loop().set_task_factory(make)  # type: ignore[arg-type]
        eager = EagerStart()

        async def main() -> None:
            notes.append("main")

        await eager.start(main())
        await asyncio.sleep(0)
        assert sorted(notes) == ["called", "main", "started"]

    run_it(test)


def test_code_that_replaced_call_soon_sees_every_task(run_it: RunIt) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(make_own_task)  # type: ignore[arg-type]
        eager, real, seen = EagerStart(), loop.call_soon, list[object]()

        def watch(callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
            seen.append(callback)
            return real(callback, *args, context=context)

        vars(loop)["call_soon"] = watch
        try:
            await eager.start(_quick())
            assert vars(loop)["call_soon"] is watch
        finally:
            del vars(loop)["call_soon"]
        assert seen

    run_it(test)


def test_a_wait_for_the_next_iteration_is_one(run_it: RunIt) -> None:
    async def test() -> None:
        notes: list[str] = []

        async def wait() -> None:
            await asyncio.sleep(0)
            notes.append("resumed")

        task = EagerStart().start(wait())
        notes.append("started")
        await task
        assert notes == ["started", "resumed"]

    run_it(test)


def test_a_late_start_can_be_cancelled(run_it: RunIt) -> None:
    """Without a word of a coroutine that was never awaited: warnings are errors."""

    async def test() -> None:
        eager, late = EagerStart(), list[asyncio.Task[None]]()

        async def dive(levels: int) -> None:
            if levels:
                late.append(eager.start(dive(levels - 1)))

        eager.start(dive(MAX_DEPTH))
        (waiting,) = [task for task in late if not task.done()]
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run_it(test)


async def _quick() -> None: ...


async def _forever() -> None:
    await asyncio.Event().wait()
