"""A caller that is cancelled: its request is not sent, leaves the queue, or interrupts its turn (CAN)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from grange import CallTimeout, Grain, always_interleave, cancellable, one_way, response_timeout
from grange.errors import GrangeError
from grange.grains.context import current_turn
from grange.testing.cluster import TestCluster
from tests.cluster.reached_from import SIDES, reached_from


class Worker(Grain):
    """Records the calls that began, and those that were cancelled, by their names."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.cancelled: list[str] = []
        self.completed: list[str] = []
        self.own = True

    @always_interleave
    async def log(self) -> tuple[list[str], list[str], list[str]]:
        return self.began, self.cancelled, self.completed

    @always_interleave
    async def ran_as_itself(self) -> bool:
        return self.own

    @cancellable
    async def work(self, name: str, seconds: float = 10) -> str:
        return await self._work(name, seconds)

    @cancellable
    @always_interleave
    async def work_beside(self, name: str) -> str:
        return await self._work(name, 10)

    async def finish(self, name: str, seconds: float = 10) -> str:
        return await self._work(name, seconds)

    @cancellable(wait=True)
    async def give(self, name: str, seconds: float = 10) -> str:
        return await self._work(name, seconds)

    @cancellable(wait=True)
    async def insist(self, name: str) -> str:
        try:
            return await self._work(name, 10)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            return f"{name} all the same"

    @cancellable(wait=True)
    async def fail(self, name: str) -> str:
        try:
            return await self._work(name, 10)
        finally:
            raise LookupError(name)

    @cancellable
    async def break_off(self, name: str) -> None:
        try:
            await self._work(name, 10)
        except asyncio.CancelledError:
            raise LookupError("the clean-up failed") from None

    @cancellable
    @response_timeout(2, cancel=True)
    async def hurry(self, name: str) -> str:
        return await self._work(name, 10)

    @cancellable
    @response_timeout(2)
    async def take_time(self, name: str) -> str:
        return await self._work(name, 10)

    @cancellable
    async def through(self, to: Worker, name: str) -> str:
        self.began.append(name)
        return await to.work(name)

    @cancellable(wait=True)
    async def give_through(self, to: Worker, name: str) -> str:
        return await to.insist(name)

    async def cancel_itself(self, to: Worker, name: str, after: float) -> str:
        call = asyncio.create_task(to.work(name))
        await asyncio.sleep(after)
        call.cancel()
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        return type(outcome).__name__

    async def call_when_cancelled(self, to: Worker, name: str) -> str:
        async def call() -> str:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return await to.work(name, 0)

        (outcome,) = await asyncio.gather(asyncio.create_task(call()), return_exceptions=True)
        return type(outcome).__name__

    async def _work(self, name: str, seconds: float) -> str:
        self.began.append(name)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.own = self.own and getattr(current_turn.get(), "holder", None) is self._grange
            self.cancelled.append(name)
            raise
        self.completed.append(name)
        return name


@pytest.fixture(params=SIDES)
async def worker(request: pytest.FixtureRequest) -> AsyncIterator[tuple[TestCluster, Worker]]:
    """A worker, and a reference to it from its own silo, from another silo, or from a client of another silo."""
    async with TestCluster([Worker], silos=2) as cluster:
        await cluster.get_grain(Worker, "w").log()
        async with reached_from(cluster, request.param, Worker, "w") as reference:
            yield cluster, reference


At = tuple[TestCluster, Worker]


async def outcome_of(call: asyncio.Task[str]) -> object:
    (outcome,) = await asyncio.gather(call, return_exceptions=True)
    return outcome


@pytest.mark.parametrize("after", [0, 0.01, 0.3])
async def test_a_running_method_is_interrupted(worker: At, after: float) -> None:
    """CAN-01: the caller gets CancelledError at once, and the grain observes the cancellation of that very call."""
    cluster, grain = worker
    call = asyncio.create_task(grain.work("a"))
    await cluster.advance(after)
    call.cancel()
    assert isinstance(await outcome_of(call), asyncio.CancelledError)
    await cluster.advance(0.1)
    began, cancelled, completed = await grain.log()
    assert (began, cancelled, completed) in ((["a"], ["a"], []), ([], [], []))
    assert began or after == 0  # it was sent, unless the caller was cancelled before its first step


async def test_an_interrupted_grain_takes_its_next_request(worker: At) -> None:
    """CAN-01: the turn ends with its cancellation, and the grain is as ready as before."""
    cluster, grain = worker
    call = asyncio.create_task(grain.work("a", 1000))
    await cluster.advance(1)
    call.cancel()
    await outcome_of(call)
    assert await grain.work("b", 1) == "b"


async def test_a_method_that_is_not_cancellable_completes(worker: At) -> None:
    """CAN-01: a half-done turn is a corrupt grain, so only `@cancellable` methods are interrupted."""
    cluster, grain = worker
    call = asyncio.create_task(grain.finish("a", 5))
    await cluster.advance(1)
    call.cancel()
    assert isinstance(await outcome_of(call), asyncio.CancelledError)
    await cluster.advance(10)
    assert await grain.log() == (["a"], [], ["a"])


async def test_a_request_that_waits_is_removed(worker: At) -> None:
    """CAN-01: it was certainly not executed, cancellable or not; the running turn is not touched."""
    cluster, grain = worker
    first = asyncio.create_task(grain.work("first", 5))
    await cluster.advance(1)
    waiting = [asyncio.create_task(call) for call in (grain.work("second"), grain.finish("third"))]
    await cluster.advance(1)
    for call in waiting:
        call.cancel()
        assert isinstance(await outcome_of(call), asyncio.CancelledError)
    assert await first == "first"
    await cluster.advance(30)
    assert await grain.log() == (["first"], [], ["first"])


async def test_one_scope_cancels_calls_to_several_grains() -> None:
    """CAN-03: each grain observes the cancellation of its own call, also if several interleave in one grain."""
    async with TestCluster([Worker], silos=2) as cluster:
        grains = [cluster.get_grain(Worker, str(number)) for number in range(5)]

        async def call_all() -> None:
            async with asyncio.timeout(1), asyncio.TaskGroup() as group:
                for number, grain in enumerate(grains):
                    group.create_task(grain.work_beside(f"a{number}"))
                    group.create_task(grain.work_beside(f"b{number}"))

        with pytest.raises(TimeoutError):
            await call_all()
        await cluster.advance(0.1)
        for number, grain in enumerate(grains):
            _, cancelled, completed = await grain.log()
            assert (sorted(cancelled), completed) == ([f"a{number}", f"b{number}"], [])


async def test_a_caller_that_is_cancelled_already_sends_nothing(worker: At) -> None:
    """CAN-04: CancelledError at the call, and no request."""
    cluster, grain = worker

    async def call() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return await grain.work("a", 0)

    assert isinstance(await outcome_of(asyncio.create_task(call())), asyncio.CancelledError)
    await cluster.advance(1)
    assert await grain.log() == ([], [], [])


async def test_a_call_in_the_clean_up_of_a_cancelled_caller_is_made(worker: At) -> None:
    """CAN-04: the cancellation was delivered before, so it concerns no later call."""
    cluster, grain = worker

    async def work() -> str:
        try:
            await asyncio.sleep(100)
        finally:
            assert await grain.work("clean-up", 1) == "clean-up"
        return ""

    call = asyncio.create_task(work())
    await cluster.advance(1)
    call.cancel()
    assert isinstance(await outcome_of(call), asyncio.CancelledError)
    assert await grain.log() == (["clean-up"], [], ["clean-up"])


async def test_a_caller_that_is_not_cancelled_sees_no_difference(worker: At) -> None:
    """CAN-04: a cancellable method returns as any other."""
    _, grain = worker
    assert [await grain.work("a", 1), await grain.give("b", 1)] == ["a", "b"]


@pytest.mark.parametrize("silos", [1, 3])
async def test_a_grain_cancels_its_call_to_another_grain(silos: int) -> None:
    """CAN-06: in one silo and across silos."""
    async with TestCluster([Worker], silos=silos) as cluster:
        for number in range(6):
            caller, callee = (cluster.get_grain(Worker, f"{name}{number}") for name in ("caller", "callee"))
            assert await caller.cancel_itself(callee, "a", 1) == "CancelledError"
            await cluster.advance(0.1)
            assert await callee.log() == (["a"], ["a"], [])
            assert await caller.call_when_cancelled(callee, "b") == "CancelledError"
            await cluster.advance(0.1)
            assert await callee.log() == (["a"], ["a"], [])


@pytest.mark.parametrize("silos", [1, 3])
async def test_a_cancelled_turn_cancels_its_own_calls(silos: int) -> None:
    """CAN-06: from a caller through A to B: each hop that is cancellable passes the cancellation on."""
    async with TestCluster([Worker], silos=silos) as cluster:
        for number in range(6):
            first, last = (cluster.get_grain(Worker, f"{name}{number}") for name in ("first", "last"))
            call = asyncio.create_task(first.through(last, "a"))
            await cluster.advance(1)
            call.cancel()
            assert isinstance(await outcome_of(call), asyncio.CancelledError)
            await cluster.advance(0.1)
            assert await last.log() == (["a"], ["a"], [])


async def test_the_clean_up_runs_as_the_grain_itself(worker: At) -> None:
    """CAN-07: what a method does about its cancellation is a part of its turn."""
    cluster, grain = worker
    call = asyncio.create_task(grain.work("a"))
    await cluster.advance(1)
    call.cancel()
    await outcome_of(call)
    assert await grain.ran_as_itself()


async def test_a_caller_may_wait_for_the_end_of_the_turn(worker: At) -> None:
    """CAN-07: with `wait=True` it gets the result of a method that completed all the same."""
    cluster, grain = worker
    call = asyncio.create_task(grain.insist("a"))
    await cluster.advance(1)
    call.cancel()
    await cluster.advance(0.5)
    assert not call.done()
    assert await call == "a all the same"


async def test_a_caller_that_waits_learns_that_the_method_was_interrupted(worker: At) -> None:
    """CAN-07: an interrupted method, and a request that had not begun, end with CancelledError; an error is raised."""
    cluster, grain = worker
    interrupted = asyncio.create_task(grain.give("a"))
    await cluster.advance(1)
    queued = asyncio.create_task(grain.give("b"))
    await cluster.advance(1)
    queued.cancel()
    assert isinstance(await outcome_of(queued), asyncio.CancelledError)
    interrupted.cancel()
    assert isinstance(await outcome_of(interrupted), asyncio.CancelledError)
    failing = asyncio.create_task(grain.fail("c"))
    await cluster.advance(1)
    failing.cancel()
    assert repr(await outcome_of(failing)) == "LookupError('c')"
    assert await grain.log() == (["a", "c"], ["a", "c"], [])


async def test_a_caller_that_waits_gets_the_answer_that_comes_at_that_moment(worker: At) -> None:
    """CAN-07: the outcome is that of the method, also if it is on its last step to the caller."""
    _, grain = worker
    for _ in range(3):
        call = asyncio.create_task(grain.give("a", 1))
        await asyncio.sleep(1)
        call.cancel()
        assert await outcome_of(call) == "a"


async def test_a_caller_that_waits_can_be_cancelled_again(worker: At) -> None:
    """CAN-07: the second cancellation does not wait."""
    cluster, grain = worker
    call = asyncio.create_task(grain.insist("a"))
    await cluster.advance(1)
    call.cancel()
    await cluster.advance(0.5)
    call.cancel()
    assert isinstance(await outcome_of(call), asyncio.CancelledError)
    await cluster.advance(1)
    assert await grain.work("b", 0) == "b"


async def test_an_error_of_the_clean_up_reaches_no_caller(worker: At, caplog: pytest.LogCaptureFixture) -> None:
    """CAN-08: the caller gets its CancelledError, the grain has recorded the cancellation, the log has the error."""
    cluster, grain = worker
    call = asyncio.create_task(grain.break_off("a"))  # type: ignore[arg-type]
    await cluster.advance(1)
    call.cancel()
    assert isinstance(await outcome_of(call), asyncio.CancelledError)
    await cluster.advance(0.1)
    assert (await grain.log())[1] == ["a"]
    assert [record.getMessage() for record in caplog.records if "break_off" in record.getMessage()] == [
        "the cancelled turn worker/w.break_off failed"
    ]


async def test_a_time_out_may_cancel(worker: At) -> None:
    """CAN-01: `@response_timeout(…, cancel=True)` interrupts a turn whose time is over; without it, it goes on."""
    cluster, grain = worker
    with pytest.raises(CallTimeout):
        await grain.hurry("a")
    await cluster.advance(0.1)
    assert await grain.log() == (["a"], ["a"], [])
    with pytest.raises(CallTimeout):
        await grain.take_time("b")
    await cluster.advance(20)
    assert await grain.log() == (["a", "b"], ["a"], ["b"])


async def test_calls_leave_nothing_behind_when_they_are_cancelled(worker: At) -> None:
    """CAN-01: no request counts as in progress in any silo."""
    cluster, grain = worker
    calls = [asyncio.create_task(grain.work(str(number), 1000)) for number in range(20)]
    await cluster.advance(1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await cluster.advance(1)
    assert all(silo.management.state().requests == 0 for silo in cluster.silos)
    assert await grain.work("last", 0) == "last"


async def test_a_caller_that_waits_for_the_end_leaves_nothing_behind() -> None:
    """CAN-07: a call of a grain to a grain of its silo is kept no longer than its outcome."""
    async with TestCluster([Worker], silos=1) as cluster:
        caller, callee = (cluster.get_grain(Worker, name) for name in ("caller", "callee"))
        call = asyncio.create_task(caller.give_through(callee, "a"))
        await cluster.advance(1)
        call.cancel()
        assert await call == "a all the same"
        assert cluster.silos[0]._running.calls.caller._deps.awaited == {}  # the deadlock detector reads it


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: {"f": cancellable(_one_way())}, "no effect on a one-way method"),
        (lambda: {"f": response_timeout(1, cancel=True)(_plain())}, "not @cancellable"),
        (lambda: {"_f": cancellable(_plain())}, "@cancellable has no effect on a hook or a private method"),
    ],
)
def test_an_option_without_effect_is_refused(make: object, remedy: str) -> None:
    """CAN-01: where a decorator would do nothing, the class is refused with the remedy."""
    with pytest.raises(GrangeError, match=remedy):
        type("Wrong", (Grain,), make())  # type: ignore[operator]


def _plain() -> object:
    async def f(self: object) -> None: ...

    return f


def _one_way() -> object:
    async def f(self: object) -> None: ...

    return one_way(f)
