"""One turn: its context, and its single outcome."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest

from grange import Grain, InconsistentStateError, InvalidCall, StorageError, request_context
from grange.aio.eager import EagerStart
from grange.grains.context import current_turn
from grange.observability.counters import TypeFigures
from grange.proto.message import Reason
from grange.runtime.activations.invoker import run_turn
from grange.runtime.activations.phase import UNSAVED
from grange.runtime.gate import Gate
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused
from tests.runtime.process import Process, grain_id


class Noted(Invocation):
    """A request that runs any coroutine function and records its outcome."""

    code: Callable[[], Any]
    outcomes: list[Any] = msgspec.field(default_factory=list)
    unfit: Exception | None = None

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        return ()

    def invoke(self, grain: Any, plan: MethodPlan | None) -> Any:
        if self.unfit is not None:
            raise self.unfit
        return self.code()

    def started(self) -> None:
        self.outcomes.append("started")

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        self.outcomes.append(value)

    def fail(self, error: BaseException) -> None:
        self.outcomes.append(error)

    def refuse(self, refused: Refused) -> None:
        self.outcomes.append(refused)


def noted(code: Callable[[], Any], kind: type[Noted] = Noted) -> Noted:
    """A request that runs this code."""
    call = kind(grain_id("noted"), "run", math.inf, {"word": "hello"}, None, code)
    call.watched = True
    return call


class Owner:
    """An activation. `lost`: a turn that ran beside this one could not store its changes. `errors` of ended turns."""

    def __init__(self, lost: StorageError | None = None) -> None:
        self.lost = lost
        self.reason = None if lost is None else UNSAVED
        self.errors: list[BaseException | None] = []
        self.figures = TypeFigures("cart", "ring", ())

    def end(self, call: Invocation, error: BaseException | None, now: float) -> None:
        self.errors.append(error)

    def check_saved(self) -> None:
        if self.lost is not None:
            raise self.lost


async def take_turn(call: Noted, owner: Owner | None = None) -> tuple[list[Any], list[BaseException | None]]:
    """Run one turn. Returns its outcomes and the errors with which it ended."""
    owner = owner or Owner()
    await run_turn(call, None, owner, None, Gate())
    return call.outcomes, owner.errors


async def test_a_turn_has_the_callers_context() -> None:
    async def look() -> tuple[dict[str, Any], object]:
        return dict(request_context), current_turn.get()

    call, owner = noted(look), Owner()
    await EagerStart().start(run_turn(call, None, owner, None, Gate()))
    assert call.outcomes == ["started", ({"word": "hello"}, call)]
    assert dict(request_context) == {}
    assert current_turn.get() is None


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        InconsistentStateError("x"),
        asyncio.CancelledError(),
        SystemExit(1),
        InvalidCall("raised by the method itself"),
    ],
)
async def test_every_error_is_reported_once(error: BaseException) -> None:
    """Even errors that usually end a process: a method must not stop a silo."""

    async def fail() -> None:
        raise error

    assert await take_turn(noted(fail)) == (["started", error], [error])


async def test_a_result_from_memory_that_was_not_stored_is_not_sent() -> None:
    async def look() -> int:
        return 1

    lost = StorageError("x")
    assert await take_turn(noted(look), Owner(lost)) == (["started", lost], [lost])


@pytest.mark.parametrize("ctrl_c", [True, False])
async def test_a_keyboard_interrupt_is_raised_after_its_caller_got_it_if_it_may_be_ctrl_c(ctrl_c: bool) -> None:
    """With Python's own handler Ctrl-C must end the program; with a handler for it, the error is the grain's."""

    async def interrupt() -> None:
        raise KeyboardInterrupt

    call, owner = noted(interrupt), Owner()
    before = signal.signal(signal.SIGINT, signal.default_int_handler if ctrl_c else lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt) if ctrl_c else nullcontext():
            await run_turn(call, None, owner, None, Gate())
    finally:
        signal.signal(signal.SIGINT, before)
    assert [type(outcome) for outcome in call.outcomes] == [str, KeyboardInterrupt]
    assert len(owner.errors) == 1


async def test_arguments_that_do_not_fit_are_a_refusal() -> None:
    call = noted(lambda: None)
    call.unfit = InvalidCall("no")
    (refused,), errors = await take_turn(call)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.INVALID_CALL
    assert errors == [None]


async def test_a_result_that_cannot_be_sent_is_an_error_of_an_executed_call() -> None:
    class Unwilling(Noted):
        def succeed(self, plan: MethodPlan | None, value: Any) -> None:
            raise TypeError("cannot be sent")

    async def fine() -> int:
        return 1

    outcomes, errors = await take_turn(noted(fine, Unwilling))
    assert outcomes[0] == "started"
    assert errors == [outcomes[1]]
    assert isinstance(outcomes[1], TypeError)


async def test_a_cancelled_turn_ends_as_cancelled() -> None:
    forever, owner = noted(asyncio.Event().wait), Owner()
    task = EagerStart().start(run_turn(forever, None, owner, None, Gate()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert [type(outcome) for outcome in forever.outcomes] == [str, asyncio.CancelledError]
    assert len(owner.errors) == 1


class Chain(Grain):
    async def dive(self, levels: int) -> int:
        if levels == 0:
            return 0
        return 1 + await self.get_grain(Chain, str(levels)).dive(levels - 1)


async def test_a_long_chain_of_local_calls_needs_no_deep_stack(process: Callable[..., Process]) -> None:
    """A thousand grains call each other in a chain, under a stack limit that nested turns would exceed."""
    here = process(Chain)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(600)
    try:
        assert await here.grains.get_grain(Chain, "first").dive(1000) == 1000
    finally:
        sys.setrecursionlimit(limit)
