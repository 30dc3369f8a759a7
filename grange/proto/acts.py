"""Acts of operators on one silo: the roles, the question, its answer. System targets and messages. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

import msgspec

from grange.proto.identity import TOKEN, Identity, check_user, decode_identity, spoken_by
from grange.proto.ids import SiloAddress

ACT = "management.act"
AUDIT = "management.audit"
"""Names of system targets. They are on the wire."""


class Level(enum.IntEnum):
    """What a person or program may do: a higher level includes the lower ones."""

    NONE = 0
    VIEWER = 1  # read everything
    OPERATOR = 2  # deactivate, drain, cordon, set log levels
    ADMIN = 3  # call methods, declare a silo dead


LEVELS: Mapping[str, Level] = MappingProxyType({level.name.lower(): level for level in Level if level})
"""The roles of management."""


def level_of(identity: Identity | None) -> Level:
    """What an identity may do in management: the highest of its roles `viewer`, `operator` and `admin`."""
    roles = () if identity is None else identity.roles
    return max((LEVELS[role] for role in roles if role in LEVELS), default=Level.NONE)


def of_level(level: Level) -> Identity:
    """The identity that the management token of this level gives."""
    role = level.name.lower()
    return Identity(TOKEN + role, (role,))


class Asker(msgspec.Struct, frozen=True):
    """The peer of a connection that asks: its name in the handshake, level and identity, and whether it is a silo.

    `principal` is the identity of its calls, empty where calls carry none. `speaker`: the name by which it may make
    calls for users whom it names; empty: it may not.
    """

    name: str
    level: Level
    is_silo: bool = False
    identity: Identity | None = None
    principal: bytes = b""
    speaker: str = ""

    def named(self, principal: bytes) -> bytes:
        """The identity of a call for which this client, no silo, names one. Raises ValueError: it is to be refused."""
        if not self.speaker:
            raise ValueError("this client may not name the identity of its calls; the option tls.speaks_for may let it")
        check_user(cast("Identity", decode_identity(principal)))
        return spoken_by(principal, self.speaker)

    @property
    def speaks_for_others(self) -> bool:
        """Whether it is believed when it names another person as the actor."""
        return self.is_silo or self.level is Level.ADMIN


class Action(enum.StrEnum):
    """The acts. Values are on the wire, in the audit log and in the option `actions`."""

    DEACTIVATE = "deactivate"  # target: a grain, or all activations of a type
    COLLECT = "collect"  # all activations idle for a number of seconds
    CALL = "call"  # one method of a grain
    CORDON = "cordon"  # the silo takes no new grains; its grains stay
    UNCORDON = "uncordon"
    DRAIN = "drain"
    MOVE = "move"  # one activation to another silo
    SUSPEND_REBALANCING = "suspend rebalancing"  # of all silos, for a number of seconds
    RESUME_REBALANCING = "resume rebalancing"
    CANCEL_REMINDER = "cancel reminder"
    RETRY_REMINDER = "retry reminder"  # one that has failed
    LOG_LEVEL = "log level"
    DUMP_TASKS = "dump tasks"
    VERSION_RULES = "version rules"  # which versions of an interface serve its callers
    DECLARE_DEAD = "declare dead"


class Act(msgspec.Struct, frozen=True):
    """Question: do this, or with `preview` only tell what it would do.

    `target`: a grain as "type/key", a grain type, an interface, a logger name, or a silo, as the action needs. `values`
    are further arguments as JSON: of CALL `method`, `arguments`, `seconds`; of COLLECT `idle`; of MOVE `to`; of
    CANCEL_REMINDER and RETRY_REMINDER `name`; of SUSPEND_REBALANCING `seconds`; of LOG_LEVEL `level`, `seconds`; of
    VERSION_RULES `rules`.
    `expect` is `Acted.expect` of a preview: the act is refused if it no longer holds; empty: do it all the same.
    `actor` names the person for the audit; it is believed only from a peer that may speak for others. `level` is that
    of the person: the lower one of it and of the connection counts.
    """

    action: Action
    target: str = ""
    values: str = ""
    reason: str = ""
    expect: str = ""
    actor: str = ""
    preview: bool = False
    level: Level = Level.ADMIN


class Outcome(enum.StrEnum):
    """The outcome of an act."""

    DONE = "done"
    PREVIEWED = "previewed"
    REFUSED = "refused"  # certainly not done: the role, a switched-off action, or an expectation that does not hold
    FAILED = "failed"  # it was tried and raised
    UNKNOWN = "unknown"


class Acted(msgspec.Struct, frozen=True):
    """Answer: the outcome, a sentence, how many things it is about, and the result as JSON."""

    address: SiloAddress
    outcome: Outcome
    text: str
    count: int = 0
    expect: str = ""
    result: str = ""


ACT_ROW = "act"
CALL_ROW = "call"
DENIAL_ROW = "denial"
KINDS = (ACT_ROW, CALL_ROW, DENIAL_ROW)
"""The kinds of rows: acts of operators, calls of `@audited` methods, refused callers."""


class AuditRow(msgspec.Struct, frozen=True):
    """One line of the audit: before or after an act or a call, or about a refused caller.

    `actor` is the subject, `via` the process or grain that acts for it. `action` is an act, or type/method of a call;
    `target` a grain, a silo, a port. `reason` is that of an act, or of a refusal. `trace` is the id of its trace.
    `begun`: the number of the row before the act or call that this row ends; 0: none.
    """

    number: int
    time: float
    actor: str
    level: Level
    action: str
    target: str
    reason: str
    outcome: str
    text: str
    kind: str = ACT_ROW
    via: str = ""
    trace: str = ""
    begun: int = 0


class Denial(msgspec.Struct, frozen=True):
    """A refused caller. `kind`: `call`, `handshake` or `question` (of management); it labels a metric.

    `action` and `target` as in `AuditRow`, never an argument. `refused`: False in the mode `audit`, which only tells.
    `name`: that of a caller without an identity, as it calls itself.
    """

    kind: str
    action: str
    target: str
    reason: str
    refused: bool = True
    trace: str = ""
    name: str = ""


class Audit(msgspec.Struct, frozen=True):
    """Answer to `AUDIT` (question: `journal.After`): rows in order. `lost`: those that the ring has dropped."""

    address: SiloAddress
    rows: tuple[AuditRow, ...]
    lost: int = 0
