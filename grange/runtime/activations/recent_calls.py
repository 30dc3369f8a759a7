"""The last calls of one grain, kept only while an operator looks at it. Pure."""

from __future__ import annotations

from collections import deque

import msgspec

from grange.proto.ids import GrainId

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


def keep(watched: dict[GrainId, RecentCalls], grain_id: GrainId, call: RecentCall) -> None:
    """Keep a call that has just ended, if an operator looks at this grain."""
    recent = watched.get(grain_id)
    if recent is not None and call.ended > recent.until:
        del watched[grain_id]
    elif recent is not None:
        recent.calls.appendleft(call)
