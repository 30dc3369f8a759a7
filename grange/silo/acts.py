"""The acts of operators on one silo: the checks that every act passes, its audit, and its outcome.

`operations.py` has what each action finds and does. Between `find` and the first await of `do` nothing changes, so what
`expect` was compared with is what the act meets. Messages: `proto/acts.py`; the reasons: ADR 0076.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

import msgspec

from grange.audit.trail import BEGUN, AuditTrail, act_row
from grange.audit.writer import NotWritten
from grange.errors import CallNotExecuted, CallOutcomeUnknown, GrangeError, InvalidCall, MembershipUnavailable
from grange.grains.context import speaking_as
from grange.proto.acts import ACT, AUDIT, Act, Acted, Action, Asker, Level, Outcome
from grange.proto.identity import SILO, TOKEN, Identity, check_user, encode_identity
from grange.proto.ids import SiloAddress
from grange.proto.journal import After
from grange.runtime.system_target import SystemTargets
from grange.silo.operation import Done, Found, NotDone, Operation

LONGEST_VALUES = 64 * 1024
"""Characters of `Act.values`."""

LONGEST_TEXT = 3_000
"""Characters of each other field of an act."""


class Acts:
    """The acts of one silo. `allowed` is the option `actions`. `identified`: calls carry the identity of the actor."""

    def __init__(
        self, address: SiloAddress, operations: Mapping[Action, Operation], allowed: Collection[str],
        audit: AuditTrail, identified: bool = False,
    ) -> None:  # fmt: skip
        self._address = address
        self._operations = operations
        self._allowed = frozenset(allowed)
        self._audit = audit
        self._identified = identified

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve_to(ACT, self._answer_act, Level.OPERATOR)
        targets.serve(AUDIT, self._answer_audit, Level.VIEWER)

    @property
    def allowed(self) -> list[Action]:
        """The actions that this silo takes from anyone with the role for them."""
        return [action for action in self._operations if not {action, "*"}.isdisjoint(self._allowed)]

    async def act(self, act: Act, asker: Asker) -> Acted:
        """Do it, or tell what it would do. Each attempt that is no preview is in the audit, before and after."""
        level = min(asker.level, act.level)
        actor = actor_of(act, asker)
        operation = self._operations[act.action]
        begun = 0
        try:
            self._check(act, operation, level)
            found = operation.find(act)
            if act.preview:
                return Acted(self._address, Outcome.PREVIEWED, found.text, found.count, found.expect)
            if self._audit.waits and _holds(act, found):
                begun = await self._audit.begin(act_row(act, actor, level, BEGUN, found.text))
                found = operation.find(act)  # time has passed
            if not _holds(act, found):
                text = f"what was expected no longer holds: now {found.text}; look again before you repeat it"
                self._audit.write(act, actor, level, Outcome.REFUSED, text, begun=begun)
                return Acted(self._address, Outcome.REFUSED, text, found.count, found.expect)
        except (NotDone, NotWritten) as refusal:
            text = str(refusal)
            if isinstance(refusal, NotWritten):
                begun, text = refusal.number, f"its row is not in the table of the audit (audit_required): {text}"
            if not act.preview:
                self._audit.write(act, actor, level, Outcome.REFUSED, text, begun=begun)
            return Acted(self._address, Outcome.REFUSED, text)
        begun = begun or self._audit.write(act, actor, level, BEGUN, found.text)
        outcome, done = Outcome.UNKNOWN, Done("it was interrupted", found.count)
        try:
            with speaking_as(encode_identity(identity_of(act, asker, level)) if self._identified else b""):
                outcome, done = await _outcome(operation, act)
        finally:
            self._audit.write(act, actor, level, outcome, done.audited or done.text, begun=begun)
        return Acted(self._address, outcome, done.text, done.count, found.expect, done.result)

    def _check(self, act: Act, operation: Operation, level: Level) -> None:
        if level < operation.level:
            has = level.name.lower()
            raise NotDone(f"the action {act.action!s} needs the role {operation.level.name.lower()}, not {has}")
        if act.action not in self.allowed:
            raise NotDone(f"the action {act.action!s} is switched off by the option actions of silo {self._address}")
        if len(act.values) > LONGEST_VALUES or max(map(len, (act.target, act.reason, act.expect))) > LONGEST_TEXT:
            raise NotDone("the act is too long")
        if operation.ends and not act.preview and not act.reason.strip():
            raise NotDone(f"the action {act.action!s} needs a reason, for those who read the audit")

    async def _answer_act(self, question: bytes, asker: Asker) -> bytes:
        return msgspec.msgpack.encode(await self.act(msgspec.msgpack.decode(question, type=Act), asker))

    async def _answer_audit(self, question: bytes) -> bytes:
        asked = msgspec.msgpack.decode(question, type=After) if question else After()
        return msgspec.msgpack.encode(self._audit.after(asked))


def _holds(act: Act, found: Found) -> bool:
    return not act.expect or found.holds(act.expect)


async def _outcome(operation: Operation, act: Act) -> tuple[Outcome, Done]:
    try:
        return Outcome.DONE, await operation.do(act)
    except InvalidCall as error:
        return Outcome.REFUSED, Done(str(error), audited="InvalidCall: its text is not in the audit")
    except (NotDone, CallNotExecuted) as error:
        return Outcome.REFUSED, Done(str(error))
    except (CallOutcomeUnknown, MembershipUnavailable, TimeoutError) as error:
        return Outcome.UNKNOWN, Done(f"{type(error).__name__}: {error}".removesuffix(": "))
    except GrangeError as error:
        return Outcome.FAILED, Done(f"{type(error).__name__}: {error}")
    except Exception as error:  # of the grain that was called
        kind = type(error).__qualname__
        return Outcome.FAILED, Done(f"{kind}: {error}", audited=f"{kind}: its text is not in the audit")


def actor_of(act: Act, asker: Asker) -> str:
    """The actor, for the audit: the subject of the connection, and the person whom it names."""
    subject = "" if asker.identity is None or asker.is_silo else asker.identity.subject
    if act.actor and asker.speaks_for_others:
        return f"{act.actor} by {subject}" if subject else act.actor
    # A token is no person, so the name in its Hello is shown, too.
    own = f"{asker.name} by {subject}" if subject.startswith(TOKEN) else subject or asker.name
    return f"{own} (claims to act for {act.actor:.100})" if act.actor else own


def identity_of(act: Act, asker: Asker, level: Level) -> Identity:
    """The identity of the calls that an act makes: of the person whom a silo or an admin names, else of the asker."""
    own = asker.identity or Identity(SILO)
    named = Identity(act.actor, (level.name.lower(),), via=SILO if asker.is_silo else own.subject)
    if act.actor and asker.is_silo:
        return named
    with suppress(ValueError):
        return check_user(named) if asker.speaks_for_others else own
    return own
