"""Hides parts of a stored state: those that the option `redact` names, and names that look like secrets. Pure.

A pattern is a path of names from the state's name inwards, with `*` for one or more names: `*.password`,
`cart.items.*.price`. What matches is hidden with all that is inside it. An item of a list has its number as its name,
and a pattern may also leave it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec

V = TypeVar("V")

SHOWN = "***"
"""In the place of a hidden value."""

LARGEST = 1024 * 1024
"""Bytes of a payload that is decoded at most: a larger one would hold the event loop for too long."""

MOST_VALUES = 5_000
"""Values inside a state that are looked at; what follows is left out, unseen: each look holds the event loop."""

LONGEST = 64 * 1024
"""Bytes of the text that is shown."""

MOST_DEPTH = 64
"""Levels of nesting that are shown."""

_ANYWHERE = (
    "passw", "passphrase", "pwd", "secret", "token", "jwt", "apikey", "accesskey", "privatekey", "signingkey",
    "encryptionkey", "credential", "authorization", "bearer", "cardnumber", "cookie", "sessionid",
)  # fmt: skip
"""Parts of names that look like secrets, in lower case, without punctuation. No usual word has one inside."""

_WHOLE = frozenset({"pin", "cvv", "cvc", "ssn", "iban", "auth", "otp", "userpass", "dbpass"})

_LAST = frozenset({"pass", "pin", "cvv", "cvc", "ssn", "iban", "otp"})
"""Last words of names that look like secrets, as in `db_pass` and `smtpPass`; `passenger` and `compass` have none."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_Steps = frozenset[tuple[int, int]]
"""For each pattern that fits the path so far: its number, and how many of its names have been passed."""


class Shown(msgspec.Struct, frozen=True):
    """A state as JSON for people. `cut`: a part at the end is left out, so it may be no whole JSON."""

    json: str
    cut: bool = False


class Redaction:
    """The patterns of one silo."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [tuple(pattern.split(".")) for pattern in patterns]

    def show(self, state: str, payload: bytes) -> Shown:
        """The payload of the state with this name, without what is hidden."""
        if len(payload) > LARGEST:
            return Shown("", cut=True)
        try:
            value = msgspec.json.decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return Shown("", cut=True)
        walk = _Walk(self._patterns)
        text = msgspec.json.encode(walk.named(state, value, walk.start(), 0))
        if len(text) > LONGEST:
            return Shown(text[:LONGEST].decode("utf-8", "ignore"), cut=True)
        return Shown(text.decode(), walk.left_out)


class _Walk:
    """One walk through one value."""

    def __init__(self, patterns: list[tuple[str, ...]]) -> None:
        self._patterns = patterns
        self._values = 0
        self.left_out = False

    def start(self) -> _Steps:
        return frozenset((number, 0) for number in range(len(self._patterns)))

    def named(self, name: str, value: Any, before: _Steps, depth: int) -> Any:
        """The value of this name, or what is shown in its place."""
        steps = self._step(before, name)
        if _looks_secret(name) or self._is_matched(steps):
            return SHOWN
        if depth > MOST_DEPTH:
            self.left_out = True
            return "…"
        if isinstance(value, dict):
            members = cast("Mapping[str, Any]", value)
            return {key: self.named(key, inner, steps, depth + 1) for key, inner in self._first(members.items())}
        if isinstance(value, list):
            items = self._first(enumerate(cast("Sequence[Any]", value)))
            return [self._item(str(number), inner, steps, depth + 1) for number, inner in items]
        return value

    def _first(self, inner: Iterable[V]) -> Iterator[V]:
        """The parts of a value for which there is room."""
        for each in inner:
            if self._values >= MOST_VALUES:
                self.left_out = True
                return
            self._values += 1
            yield each

    def _item(self, number: str, value: Any, before: _Steps, depth: int) -> Any:
        """An item of a list: a pattern passes its number, or is still where it was."""
        steps = before | self._step(before, number)
        return self.named("", value, steps, depth) if not self._is_matched(steps) else SHOWN

    def _step(self, before: _Steps, name: str) -> _Steps:
        if not name:
            return before
        after: set[tuple[int, int]] = set()
        for number, passed in before:
            pattern = self._patterns[number]
            if passed == len(pattern):
                continue
            if pattern[passed] == "*":
                after |= {(number, passed), (number, passed + 1)}
            elif pattern[passed] == name:
                after.add((number, passed + 1))
        return frozenset(after)

    def _is_matched(self, steps: _Steps) -> bool:
        return any(passed == len(self._patterns[number]) for number, passed in steps)


def _looks_secret(name: str) -> bool:
    name = name[:200]
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    if plain in _WHOLE or any(part in plain for part in _ANYWHERE):
        return True
    words = _WORD.findall(name)
    return bool(words) and words[-1].lower() in _LAST
