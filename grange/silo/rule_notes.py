"""Notes about the rules of a silo for its operator. No errors: another silo may host what a rule names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from grange.proto.identity import GRAIN
from grange.security.policy import Mode
from grange.security.rule import ALL, Rule


def notes_of(rules: Sequence[Rule], mode: Mode, methods: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Sentences about rules. `methods`: those of each grain type of this silo."""
    notes = ["authorization = 'audit': no call is refused"] if mode is Mode.AUDIT else []
    for number, rule in enumerate(rules, 1):
        notes += [f"rule {number}: {each}" for each in _unknown(rule, methods)]
    if rules and not any(word.startswith(GRAIN) for rule in rules for word in rule.who):
        notes.append(
            "no rule is about calls that grains make: who = ['grain:*', 'silo'] with call = ['*/*'] allows them all"
        )
    return tuple(notes)


def _unknown(rule: Rule, methods: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for word in rule.call:
        kind, _, method = word.partition("/")
        if kind != ALL and kind not in methods:
            yield f"{word} matches nothing here: this silo hosts no grain type {kind!r}"
        elif kind != ALL and method not in (ALL, *methods[kind]):
            known = ", ".join(methods[kind]) or "none"
            yield f"{word} matches nothing: {kind!r} has no method {method!r}; it has: {known}"
    for word in rule.who:
        if word.startswith(GRAIN) and word[len(GRAIN) :] not in (ALL, *methods):
            yield f"{word} matches nothing here: this silo hosts no grain type {word[len(GRAIN) :]!r}"
