"""Calls of methods that are `@audited`: a row before the method, and one with its outcome. No argument is in a row.

The plan of such a method gets another `invoke`, around the filters; plans of other methods stay as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from grange.audit.trail import BEGUN, AuditTrail
from grange.audit.writer import NotWritten
from grange.grains.context import current_turn
from grange.proto.acts import CALL_ROW, AuditRow, Level, Outcome
from grange.proto.identity import decode_identity
from grange.proto.message import Reason
from grange.runtime.requests.invocation import Invocation, expired, trace_of
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused
from grange.runtime.requests.scope import Scope

RETRY_AFTER = 1.0
"""Seconds after which a call that was refused for its row may be tried again."""


def audit_calls(plans: Iterable[MethodPlan], trail: AuditTrail) -> None:
    """Have the calls of those methods that are `@audited` in the audit."""
    for plan in plans:
        if plan.method.options.audited:
            plan.invoke = _audited(plan.invoke, trail)


def _audited(invoke: Callable[..., Awaitable[Any]], trail: AuditTrail) -> Callable[..., Awaitable[Any]]:
    async def audited(grain: Any, *args: Any) -> Any:
        call = _running()
        begun = await _begin(trail, call)
        outcome, text = Outcome.UNKNOWN, "it was interrupted"
        try:
            result = await invoke(grain, *args)
            outcome, text = Outcome.DONE, ""
        except Refused as refused:
            outcome, text = Outcome.REFUSED, refused.reason.name.lower()
            raise
        except Exception as error:  # its text may show an argument
            outcome, text = Outcome.FAILED, type(error).__qualname__
            raise
        finally:
            trail.add(_row(call, str(outcome), text, begun))
        return result

    return audited


async def _begin(trail: AuditTrail, call: Invocation) -> int:
    """Write the row before the call. Raises Refused if it must be in the table, and is not."""
    row = _row(call, BEGUN, "", 0)
    if not trail.waits:
        return trail.add(row)
    try:
        begun = await trail.begin(row)
    except NotWritten as error:
        text = f"its row could not be written to the table of the audit, which audit_required demands: {error}"
        trail.add(_row(call, str(Outcome.REFUSED), text, error.number))
        raise Refused(Reason.OVERLOADED, text, retry_after=RETRY_AFTER, counted="unaudited") from None
    late = expired(call, asyncio.get_running_loop().time())
    if late is not None:
        trail.add(_row(call, str(Outcome.REFUSED), late.message, begun))
        raise late
    return begun


def _row(call: Invocation, outcome: str, text: str, begun: int) -> AuditRow:
    actor, via = _caller(call)
    grain_id = call.grain_id
    return AuditRow(
        0, 0.0, actor, Level.NONE, f"{grain_id.type}/{call.method}", f"{grain_id.type}/{grain_id.key}", "", outcome,
        text, CALL_ROW, via, trace_of(call), begun,
    )  # fmt: skip


def _caller(call: Invocation) -> tuple[str, str]:
    try:
        identity = decode_identity(call.principal)
    except ValueError:
        return "an identity that cannot be read", ""
    if identity is not None:
        return identity.subject, identity.via
    return f"{call.caller} (not authenticated)" if call.caller else "", ""


def _running() -> Invocation:
    turn = current_turn.get()
    call = turn.turn if isinstance(turn, Scope) else turn
    assert isinstance(call, Invocation), "a method runs in a turn"
    return call
