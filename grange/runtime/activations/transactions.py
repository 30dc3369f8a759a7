"""Runs one call of a `@transactional` method: its changes are stored as a whole, or rolled back in memory.

The mailbox lets no other turn run beside it. A call with an idempotency key runs once; its answer is kept with its
changes, and answers its repetitions.
"""

from __future__ import annotations

from typing import Any

from grange.grains.context import MOST_KEY, current_turn, key_of
from grange.grains.work import Answer, Work
from grange.proto.message import Encoding, Reason
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused
from grange.runtime.requests.scope import Scope


async def in_work(work: Work, plan: MethodPlan, grain: Any, args: tuple[Any, ...]) -> Any:
    """The result of the method, once all its changes are stored. `work` has just begun."""
    call = _running()
    call.work = work
    try:
        name = _id_of(call, plan)
        if name and (kept := await work.kept(name)) is not None:
            plan.figures.replayed += 1
            return plan.decode_kept(kept)
        value, answer = await _run(work, plan, name, grain, args)
        call.work = None  # what its tasks do from here on is no part of it
        await work.commit(answer)
        return value
    except BaseException:
        plan.figures.rolled_back += 1
        raise
    finally:
        call.work = None
        work.end()


async def _run(work: Work, plan: MethodPlan, name: str, grain: Any, args: tuple[Any, ...]) -> tuple[Any, Answer | None]:
    try:
        value = await plan.method.invoke(grain, *args)
        return value, _answer(plan, name, value) if name else None
    except BaseException:
        work.roll_back()
        raise


def _answer(plan: MethodPlan, name: str, value: Any) -> Answer:
    """The answer to keep. Raises InvalidResult for one that JSON cannot carry: then nothing is stored."""
    keep = plan.method.options.keep
    assert keep is not None
    return Answer(name, plan.encode_result(value, Encoding.JSON, plan.payload_limit), keep)


def _running() -> Invocation:
    turn = current_turn.get()
    if isinstance(turn, Scope):  # a filter opened it
        turn = turn.turn
    assert isinstance(turn, Invocation), "transactional methods run in turns"
    return turn


def _id_of(call: Invocation, plan: MethodPlan) -> str:
    """The name of this call in the store; empty if no answer is kept. Raises Refused for a key that is too long."""
    key = key_of(call.context)
    if not key or plan.method.options.keep is None:
        return ""
    if len(key) > MOST_KEY or "\0" in key:
        raise Refused(Reason.INVALID_CALL, f"an idempotency key has 1 to {MOST_KEY} characters, and no NUL")
    return f"{plan.name}:{key}"
