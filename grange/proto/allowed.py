"""The question whether a caller may make a call, to one silo, and its answer: `silo/allowed.py` answers it. Pure."""

from __future__ import annotations

import msgspec

from grange.proto.identity import Identity

ALLOWED = "management.allowed"
RULES = "management.rules"
"""Names of system targets. They are on the wire."""


class AskAllowed(msgspec.Struct, frozen=True):
    """May this caller (None: one without an identity) call this method of the grains of a type?

    `key`: that of the grain, for the policy function of the silo; None: the function is not asked.
    """

    grain_type: str
    method: str
    identity: Identity | None = None
    key: str | None = None


class Allowed(msgspec.Struct, frozen=True):
    """The answer of one silo.

    `why` is a sentence, `by` has the rules and requirements that decide. `mode`: `enforce`, `audit`, or `none` if
    nothing restricts callers. `function`: `allows`, `refuses`, `not asked`, or empty if the silo has none.
    `identity`: the caller with the roles that the silo gives to it. `unknown`: the type has no such method there.
    """

    allowed: bool
    why: str
    by: tuple[str, ...] = ()
    mode: str = "none"
    function: str = ""
    identity: Identity | None = None
    unknown: bool = False


class RulesInForce(msgspec.Struct, frozen=True):
    """The rules of one silo: `rules` from `[[allow]]`, `requires` by `type/method`, `notes` for its operator."""

    mode: str = "none"
    rules: tuple[str, ...] = ()
    requires: dict[str, tuple[str, ...]] = {}
    function: bool = False
    notes: tuple[str, ...] = ()
