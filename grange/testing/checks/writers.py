"""I2: each grain has at most one writer. Checks the store's audit of accepted writes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

import msgspec

from grange.testing.checks.history import Violation


class Write(msgspec.Struct, frozen=True):
    """One row of the append-only audit of accepted writes. `etag_before` is None for the first write of a grain.

    `silo` names the silo generation that wrote, `activation` the activation (empty: not known).
    """

    t: float
    grain: str
    etag_before: str | None
    etag: str
    silo: str = ""
    activation: str = ""


class Turn(msgspec.Struct, frozen=True):
    """One turn of one activation; its start and end are in seconds."""

    start: float
    end: float
    grain: str
    activation: str


def writers(audit: Iterable[Write]) -> list[Violation]:
    """Check rows in the order in which the store accepted them.

    The etags of each grain must form one chain without forks. Once another activation has written, the earlier
    activation must never write again.
    """
    rows: defaultdict[str, list[Write]] = defaultdict(list)
    for write in audit:
        rows[write.grain].append(write)
    return [violation for grain in sorted(rows) for violation in _check_grain(grain, rows[grain])]


def _check_grain(grain: str, rows: list[Write]) -> list[Violation]:
    violations: list[Violation] = []
    etag: str | None = None
    current = ""
    past: set[str] = set()
    for write in rows:
        writer = f"{write.activation or 'an unknown activation'} on {write.silo or 'an unknown silo'}"
        if write.etag_before != etag:
            text = f"{writer} wrote {write.etag} over {write.etag_before} when {etag} was stored: a fork"
            violations.append(Violation("I2", grain, text))
        etag = write.etag
        if write.activation and write.activation != current:
            if write.activation in past:
                text = f"{writer} wrote {write.etag} after a newer activation had written"
                violations.append(Violation("I2", grain, text))
            past.add(write.activation)
            current = write.activation
    return violations


def overlaps(turns: Iterable[Turn]) -> list[tuple[Turn, Turn]]:
    """Find overlapping turns of one grain in different activations: the duplicate window.

    Each turn is paired at most once, with the earlier turn that ended last. Turns that only touch do not overlap.
    """
    by_grain: defaultdict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        by_grain[turn.grain].append(turn)
    pairs: list[tuple[Turn, Turn]] = []
    for grain in sorted(by_grain):
        last: dict[str, Turn] = {}  # per activation: the turn that ended last
        for turn in sorted(by_grain[grain], key=lambda turn: (turn.start, turn.end, turn.activation)):
            others = [other for name, other in sorted(last.items()) if name != turn.activation]
            latest = max(others, key=lambda other: other.end, default=None)
            if latest is not None and latest.end > turn.start:
                pairs.append((latest, turn))
            mine = last.get(turn.activation)
            if mine is None or turn.end > mine.end:
                last[turn.activation] = turn
    return pairs


def duplicate_window(ran: Iterable[Turn]) -> float:
    """The longest time from the first turn of a newer activation to the last begin of a turn of an older one.

    A turn that began before may run on: it was abandoned, or its process stood still.
    """
    grains: defaultdict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for turn in ran:
        first, last = grains[turn.grain].get(turn.activation, (turn.start, turn.start))
        grains[turn.grain][turn.activation] = (min(first, turn.start), max(last, turn.start))
    longest = 0.0
    for spans in grains.values():
        in_order = sorted(spans.values())
        for (_, older_last), (newer_first, _) in pairwise(in_order):
            longest = max(longest, older_last - newer_first)
    return longest
