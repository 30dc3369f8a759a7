"""The last calls of one grain, kept only while an operator looks at it. Pure."""

from __future__ import annotations

from collections import deque

import msgspec

KEPT = 20
"""Calls that are kept of one grain."""

WATCHED_FOR = 30.0
"""Seconds for which calls are kept after the last look."""


class RecentCall(msgspec.Struct, frozen=True, gc=False):
    """One call that ended: loop time of its end, seconds of its wait and its turn, and its error ("": none)."""

    method: str
    ended: float
    wait: float
    seconds: float
    error: str


class RecentCalls:
    """The newest calls of one grain. `until`: loop time up to which they are kept."""

    __slots__ = ("calls", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.calls: deque[RecentCall] = deque(maxlen=KEPT)
