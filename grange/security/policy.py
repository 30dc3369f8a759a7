"""Decides whether a caller may make a call: by the rules of a silo, and by what classes and methods require. Pure.

Each part can only refuse: a call is allowed if a rule allows it (where there are rules), and it fulfils every
`@requires` of its method and class. `runtime/requests/authorization.py` asks `authorize=` besides, and acts on it.

Rules are read for a caller and a method once. Then their verdict is in a table by the bytes of the identity.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence

import msgspec

from grange.proto.identity import GRAIN, SILO, Identity, decode_identity
from grange.security.rule import ANONYMOUS, Rule, covers, fits

MOST_VERDICTS = 16_384
"""Most verdicts that are remembered; beyond it all are forgotten. A new one takes microseconds."""

LONGEST_REMEMBERED = 512
"""Most bytes of an identity, and characters of a grain type and method, that are remembered: callers choose them."""

MOST_NAMED = 5
"""Most words that a refusal names as those that would allow the call."""

HIDDEN = "$"
"""The first character of hidden methods of a stream, `$next.NAME`: the rules for NAME hold for them."""

HOOK = "@"
"""The first character of hidden methods that only silos call, to deliver reminders and jobs: no rule is about them."""

Requirements = Mapping[tuple[str, str], tuple[tuple[str, ...], ...]]
"""By grain type and method: what a caller needs; of each inner tuple one word."""


class Mode(enum.StrEnum):
    """What becomes of a call that is not allowed: it is refused, or runs and is only reported."""

    ENFORCE = "enforce"
    AUDIT = "audit"


class CallFacts(msgspec.Struct, frozen=True):
    """One call, as the policy function of `Silo(authorize=)` sees it.

    `grain_type` and `key` name the grain, the key as text; `method` is the one called, that of a stream also when its
    next items are asked for. `via_gateway`: a client makes the call, or a silo's own code for a user; else a
    grain does, or a silo for itself.
    """

    grain_type: str
    key: str
    method: str
    via_gateway: bool

    def __str__(self) -> str:
        return call_of(self.grain_type, self.method)


def call_of(grain_type: str, method: str) -> str:
    """A call in a text. Callers choose both names, and no grain has longer ones."""
    return f"{grain_type:.100}/{method:.200}"


Authorize = Callable[[Identity | None, CallFacts], bool | str]
"""A policy function: True allows the call, False refuses it, a text refuses it with this reason. It is pure, quick, and
asked for each call. A call for which it raises is refused."""


class Explanation(msgspec.Struct, frozen=True):
    """Why a call is allowed or not. `by`: the rules and requirements that decide, as texts."""

    allowed: bool
    why: str
    by: tuple[str, ...] = ()


class Policy:
    """The rules of one silo with the requirements of its grain classes. Without rules only requirements decide."""

    def __init__(self, rules: Sequence[Rule] = (), requirements: Requirements | None = None) -> None:
        self.rules = tuple(rules)
        self.requirements: Requirements = {} if requirements is None else requirements
        self._verdicts: dict[tuple[bytes, str, str], str] = {}

    def __bool__(self) -> bool:
        return bool(self.rules or self.requirements)

    def refusal(self, principal: bytes, grain_type: str, method: str) -> str:
        """Why this caller may not make this call; empty: it may. Asked for each call."""
        verdict = self._verdicts.get((principal, grain_type, method))
        return self._decide(principal, grain_type, method) if verdict is None else verdict

    def _decide(self, principal: bytes, grain_type: str, method: str) -> str:
        try:
            explanation = self.explain(decode_identity(principal), grain_type, method)
        except ValueError as error:
            return f"its identity cannot be read: {error}"
        verdict = "" if explanation.allowed else explanation.why
        if len(principal) + len(grain_type) + len(method) > LONGEST_REMEMBERED:
            return verdict
        if len(self._verdicts) >= MOST_VERDICTS:
            self._verdicts.clear()
        self._verdicts[principal, grain_type, method] = verdict
        return verdict

    def explain(self, identity: Identity | None, grain_type: str, method: str) -> Explanation:
        """Whether the rules and requirements allow this call, and which of them decide."""
        if method.startswith(HOOK):
            return Explanation(True, "silos deliver reminders and jobs")
        name, by = named(method), list[str]()
        if self.rules:
            allowing = [rule for rule in self.rules if _covers(rule, grain_type, name)]
            found = next((rule for rule in allowing if any(fits(word, identity) for word in rule.who)), None)
            if found is None:
                return Explanation(False, _no_rule(identity, grain_type, name, allowing), tuple(map(str, allowing)))
            by.append(str(found))
        for words in self.requirements.get((grain_type, name), ()):
            text = requirement(words)
            by.append(text)
            if not any(fits(word, identity) for word in words):
                return Explanation(False, f"{_call(identity, grain_type, name)} needs {_words(words)}", (text,))
        return Explanation(True, by[0] if by else "nothing restricts this call", tuple(by))


def requirement(words: Sequence[str]) -> str:
    """One requirement of a method, as its author wrote it."""
    return f"@requires({', '.join(map(repr, words))})"


def facts(identity: Identity | None, grain_type: str, key: str, method: str) -> CallFacts:
    """The facts of a call of this caller."""
    return CallFacts(grain_type, key, named(method), not is_of_silo(identity))


def is_of_silo(identity: Identity | None) -> bool:
    """Whether a grain, or other code of a silo, makes the calls with this identity."""
    if identity is None:
        return False
    return identity.subject == SILO or identity.subject.startswith(GRAIN) or identity.via.startswith(GRAIN)


def continues(now: Identity, begun: Identity, ends: bool = False) -> bool:
    """Whether this caller may ask for the next items of a stream that the other one began.

    It has the same subject; or the same grain makes both calls, perhaps in another turn, for another caller. Any
    process that spoke for the caller may end the stream (`ends`): it does so when the user's request is over.
    """
    speaker = _speaker(now)
    return now.subject == begun.subject or (speaker == _speaker(begun) and (ends or speaker.startswith(GRAIN)))


def _speaker(identity: Identity) -> str:
    return identity.via or identity.subject


def named(method: str) -> str:
    """The method that rules name: `items` for `$next.items`."""
    return method.partition(".")[2] if method.startswith(HIDDEN) else method


def caller_of(identity: Identity | None) -> str:
    """The caller, for a refusal."""
    if identity is None:
        return "a caller without an identity"
    return f"{identity.subject} by {identity.via}" if identity.via else identity.subject


def _covers(rule: Rule, grain_type: str, method: str) -> bool:
    return any(covers(word, grain_type, method) for word in rule.call)


def _call(identity: Identity | None, grain_type: str, method: str) -> str:
    return f"{caller_of(identity)} may not call {call_of(grain_type, method)}: it"


def _no_rule(identity: Identity | None, grain_type: str, method: str, allowing: Sequence[Rule]) -> str:
    if not allowing:
        call = call_of(grain_type, method)
        return f"{caller_of(identity)} may not call {call}: no rule in [[allow]] names this call"
    words = tuple(dict.fromkeys(word for rule in allowing for word in rule.who))
    return f"{_call(identity, grain_type, method)} is allowed to {_words(words)}"


def _words(words: Sequence[str]) -> str:
    shown = [each if each != ANONYMOUS else "callers without an identity" for each in words[:MOST_NAMED]]
    left = len(words) - len(shown)
    return " or ".join(shown) + (f", or {left} more" if left else "")
