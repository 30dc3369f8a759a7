"""One search among the activations of a silo: filters, the order, and a cursor for the next page. Pure.

The order is by absolute figures (when it began, when it was used last), not by ages that grow meanwhile. The cursor is
the place of the last row in that order. So an activation that stays as it is appears on exactly one page, also if
others come and go in between.

A search passes a slice of activations through one filter after the other, the cheap ones first, and leaves out the
filters that are not in use. It makes rows of the winners only.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from grange.errors import InvalidCall
from grange.proto.inspection import MAX_ROWS, ActivationRow, FindActivations
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.phase import Phase

PHASES: Mapping[Phase, str] = MappingProxyType({
    Phase.ACTIVATING: "activating", Phase.ACTIVE: "active", Phase.CLOSING: "deactivating",
    Phase.ENDING: "deactivating", Phase.GONE: "gone",
})  # fmt: skip
"""The phases of an activation, for people."""

MOST_TEXT = 4096
"""Characters of a filter, and of a cursor."""

Place = tuple[float, str, str, int]
"""A place in the order: the figure that is sorted by, the type, the key, and the activation id."""

Found = tuple[float, str, str, int, Activation]
"""A place and its activation. No two are compared by the activation: their ids differ."""


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The last row of a page: `sort` is the order of its question."""

    sort: str
    value: float
    type: str
    key: str
    activation: str

    @property
    def place(self) -> Place:
        """Its place in the order."""
        return self.value, self.type, self.key, int(self.activation, 16)


def turn_began(activation: Activation) -> float:
    """The time at which its longest turn began; infinite: none runs."""
    return min((call.started_at for call in activation.running if call.entered), default=math.inf)


SORTS: Mapping[str, Callable[[Activation], float]] = MappingProxyType({
    "key": lambda _: 0.0,
    "age": lambda each: float(each.activation_id >> 80),
    "idle": lambda each: each.last_used,
    "waiting": lambda each: -float(len(each.waiting)),
    "turn": turn_began,
})  # fmt: skip
"""The orders: all by rising figures, then by type and key."""


class Search:
    """One search. Give all activations to `look`, some at a time; then take `rows`.

    Raises InvalidCall, with the name of the filter first, for a question that is not well formed.
    """

    def __init__(self, question: FindActivations, now: float) -> None:
        """`now` is the loop's time, to which all ages count."""
        _check(question)
        self._question = question
        self._now = now
        self._sort = SORTS[question.sort]
        self._after = None if not question.cursor else _decode(question.cursor, question.sort).place
        self._phases = frozenset(
            phase for phase, name in PHASES.items() if phase is not Phase.GONE and question.phase in ("", name)
        )
        self._best: list[Found] = []
        self.matches = 0
        self.looked_at = 0

    def look(self, activations: Sequence[Activation]) -> None:
        """Look at these activations, and keep the best."""
        self.looked_at += len(activations)
        fitting = self._by_time(self._by_name(activations))
        self.matches += len(fitting)
        most, best, sort = self._question.limit + 1, self._best, self._sort  # one more tells whether there is a page
        found: list[Found] = [
            (sort(each), (grain_id := each.grain_id).type, grain_id.key, each.activation_id, each) for each in fitting
        ]
        if (after := self._after) is not None:
            found = [each for each in found if each[:4] > after]
        if len(best) == most:
            worst = best[-1]
            found = [each for each in found if each < worst]
        if found:
            best += found
            best.sort()
            del best[most:]

    def rows(self) -> tuple[tuple[ActivationRow, ...], str]:
        """The rows in order, and the cursor for the next page; empty: there is none."""
        best = self._best[: self._question.limit]
        more = len(self._best) > len(best)
        rows = tuple(row_of(each[4], self._now) for each in best)
        return rows, _encode(self._question.sort, best[-1][:4]) if more else ""

    def _by_name(self, some: Sequence[Activation]) -> Sequence[Activation]:
        """Those whose type, key and phase fit."""
        question, phases = self._question, self._phases
        if wanted := question.type:
            some = [each for each in some if each.grain_id.type == wanted]
        if prefix := question.prefix:
            some = [each for each in some if each.grain_id.key.startswith(prefix)]
        if text := question.contains:
            some = [each for each in some if text in each.grain_id.key]
        return [each for each in some if each.phase in phases]

    def _by_time(self, some: Sequence[Activation]) -> Sequence[Activation]:
        """Those whose times and numbers fit."""
        question, now = self._question, self._now
        if idle := question.min_idle:
            some = [each for each in some if now - each.last_used >= idle]
        if waiting := question.min_waiting:
            some = [each for each in some if len(each.waiting) >= waiting]
        if turn := question.min_turn:
            some = [each for each in some if now - turn_began(each) >= turn]
        if age := question.min_age:
            some = [each for each in some if each.deps.age(each.activation_id, now) >= age]
        return some


def row_of(activation: Activation, now: float) -> ActivationRow:
    """One activation as a row."""
    began = turn_began(activation)
    return ActivationRow(
        activation.grain_id,
        PHASES[activation.phase],
        activation.deps.age(activation.activation_id, now),
        max(0.0, now - activation.last_used),
        len(activation.waiting),
        len(activation.running),
        0.0 if began == math.inf else max(0.0, now - began),
    )


def _check(question: FindActivations) -> None:
    """Raise InvalidCall for the first filter that cannot match anything on purpose."""
    for name in ("type", "prefix", "contains", "cursor"):
        if len(getattr(question, name)) > MOST_TEXT:
            raise InvalidCall(f"{name}: at most {MOST_TEXT} characters")
    for name in ("min_age", "min_idle", "min_waiting", "min_turn"):
        if not 0 <= getattr(question, name) < math.inf:
            raise InvalidCall(f"{name}: 0 or more, not {getattr(question, name)}")
    phases = sorted({name for phase, name in PHASES.items() if phase is not Phase.GONE})
    if question.phase and question.phase not in phases:
        raise InvalidCall(f"phase: one of {', '.join(phases)}, not {question.phase!r:.100}")
    if question.sort not in SORTS:
        raise InvalidCall(f"sort: one of {', '.join(SORTS)}, not {question.sort!r:.100}")
    if not 1 <= question.limit <= MAX_ROWS:
        raise InvalidCall(f"limit: 1 to {MAX_ROWS}, not {question.limit}")


def _encode(sort: str, place: Place) -> str:
    value, grain_type, key, activation = place
    data = msgspec.msgpack.encode(Cursor(sort, value, grain_type, key, f"{activation:032x}"))
    return base64.urlsafe_b64encode(data).decode()


def _decode(text: str, sort: str) -> Cursor:
    try:
        cursor = msgspec.msgpack.decode(base64.urlsafe_b64decode(text), type=Cursor)
        int(cursor.activation, 16)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise InvalidCall("cursor: it is not that of a page before") from None
    if cursor.sort != sort:
        raise InvalidCall(f"cursor: it belongs to the order {cursor.sort!r:.100}, not {sort!r}")
    return cursor
