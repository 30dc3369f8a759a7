"""Decides for one silo whether a call may run, and refuses or reports the others. The rules are `security/policy.py`.

The catalog asks it before a turn starts, and the gateway before it sends a client's request on. In the usual case
neither asks: `MethodPlan.guard` has the identities that were allowed before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from grange.aio.interrupts import is_ctrl_c
from grange.observability.counters import AuthorizationFigures
from grange.observability.events import Events
from grange.observability.security_events import AuthorizationFailed, AuthorizationWouldRefuse
from grange.proto.acts import Denial
from grange.proto.clients import CLIENT_TYPE
from grange.proto.identity import Identity, decode_identity
from grange.proto.message import Reason
from grange.runtime.requests.invocation import Invocation, trace_of
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused
from grange.security.policy import HOOK, LONGEST_REMEMBERED, Authorize, Mode, Policy, call_of, caller_of, facts

MOST_GUARDED = 16_384
"""Most identities that the guard of one method remembers; beyond it all are forgotten, and the policy is asked."""

MOST_TEXT = 300
"""Most characters of the reason that a policy function gives."""


Note = Callable[[Identity | None, Denial], None]
"""Has a refused caller in the audit (`Denials.note`)."""


class Authorization:
    """Decides by the rules of a silo, `@requires`, and its policy function `authorize`: each of them may refuse.

    `plans`: those of the methods here, by grain type and method. In the mode `audit` it refuses nothing. `note` has
    what it does not allow in the audit.
    """

    def __init__(
        self,
        policy: Policy,
        authorize: Authorize | None,
        mode: Mode,
        plans: Mapping[tuple[str, str], MethodPlan],
        events: Events,
    ) -> None:
        self.policy = policy
        self.mode = mode
        self.figures = AuthorizationFigures()
        self.note: Note = _note_nothing
        self._authorize = authorize
        self._events = events
        # Without rules only the methods that require something are governed; those of others have no guard.
        governs_all = bool(policy.rules) or authorize is not None
        self._plans = {place: plan for place, plan in plans.items() if governs_all or place in policy.requirements}
        for plan in self._plans.values():
            plan.guard = set()

    @property
    def has_function(self) -> bool:
        """Whether it asks a policy function."""
        return self._authorize is not None

    def refusal(self, call: Invocation) -> Refused | None:
        """The refusal of a call that is not allowed, or None."""
        grain_id, method = call.grain_id, call.method
        if grain_id.type == CLIENT_TYPE or method.startswith(HOOK):
            return None  # only grains call observers, and only silos deliver reminders: the gateway sees to it
        text = self.policy.refusal(call.principal, grain_id.type, method)
        if not text and self._authorize is not None:
            text = self.ask(decode_identity(call.principal), grain_id.type, grain_id.key, method)
        elif not text:
            self._remember(call.principal, grain_id.type, method)
        if not text:
            return None
        if self.mode is Mode.AUDIT:
            self._report(call, text)
            return None
        self._note(call, text, refused=True)
        return Refused(Reason.UNAUTHORIZED, text)

    def _remember(self, principal: bytes, grain_type: str, method: str) -> None:
        plan = self._plans.get((grain_type, method))
        if plan is not None and plan.guard is not None and len(principal) <= LONGEST_REMEMBERED:
            if len(plan.guard) >= MOST_GUARDED:
                plan.guard.clear()
            plan.guard.add(principal)

    def ask(self, identity: Identity | None, grain_type: str, key: str, method: str) -> str:
        """Why the policy function refuses this call; empty: it allows it. The silo has one."""
        assert self._authorize is not None, "the silo has a policy function"
        asked = facts(identity, grain_type, key, method)
        try:
            answer = cast("object", self._authorize(identity, asked))
            if not isinstance(answer, bool | str):
                raise TypeError(f"authorize= returns True, False or a text, not {answer!r:.100}")
        except BaseException as error:  # this runs in the task that delivers requests, which must not end
            self.figures.failed += 1
            self._events.publish(AuthorizationFailed(str(asked), caller_of(identity), type(error).__name__), error)
            if is_ctrl_c(error):
                raise
            return f"{caller_of(identity)} may not call {asked}: the policy function of the silo failed"
        if answer is True:
            return ""
        reason = (
            answer[:MOST_TEXT] if isinstance(answer, str) and answer else "the policy function of the silo refuses it"
        )
        return f"{caller_of(identity)} may not call {asked}: {reason}"

    def _report(self, call: Invocation, text: str) -> None:
        """Report a call that the mode `enforce` would refuse."""
        known = (call.grain_id.type, call.method) in self._plans
        self.figures.would_refuse(call.grain_id.type if known else "_OTHER")
        try:
            name = caller_of(decode_identity(call.principal))
        except ValueError:
            name = "a caller whose identity cannot be read"
        grain_type, method = f"{call.grain_id.type:.100}", f"{call.method:.200}"
        self._events.publish(AuthorizationWouldRefuse(name, grain_type, method, text))
        self._note(call, text, refused=False)

    def _note(self, call: Invocation, reason: str, refused: bool) -> None:
        grain_id = call.grain_id
        try:
            identity, name = decode_identity(call.principal), call.caller
        except ValueError:
            identity, name = None, "an identity that cannot be read"
        action, target = call_of(grain_id.type, call.method), f"{grain_id.type}/{grain_id.key}"
        self.note(identity, Denial("call", action, target, reason, refused, trace_of(call), name))


def _note_nothing(identity: Identity | None, denial: Denial) -> None:
    """Before the start of the silo has set another."""
