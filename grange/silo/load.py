"""How full one silo is: one number for autoscaling, with the cause that makes it so. Pure."""

from __future__ import annotations

from collections import deque

from grange.observability.histogram import Distribution
from grange.observability.snapshot import Load, ProcessSnapshot

WINDOW = 15.0
"""Seconds over which processor time and the lag of the event loop count: a short burst needs no other silo."""

FULL_LAG = 0.2
"""Seconds; a silo whose event loop is this late once in a hundred times is full."""

PERCENTILE = 0.99
"""The share of all measurements of the lag that are below the one that counts."""


class LoadMeter:
    """Measures one silo. `most_requests` is its admission limit; 0 stands for none."""

    def __init__(self, most_requests: int) -> None:
        self._most_requests = most_requests
        self._before: deque[tuple[float, float, Distribution]] = deque()

    def measure(self, now: float, process: ProcessSnapshot, lag: Distribution, in_flight: int) -> Load:
        """The load now, in monotonic seconds. `lag` counts since the start of the silo."""
        before = self._before
        while len(before) > 1 and now - before[1][0] >= WINDOW:
            before.popleft()  # the first one left is as old as the window, or older
        began, cpu, earlier = before[0] if before else (now, process.cpu, lag)
        before.append((now, process.cpu, lag))
        seconds = now - began
        late = lag.since(earlier).quantile(PERCENTILE)
        parts = {
            "cpu": (process.cpu - cpu) / seconds / (process.cores or 1.0) if seconds > 0 else 0.0,
            "lag": 0.0 if late is None else late / FULL_LAG,
            "requests": in_flight / self._most_requests if self._most_requests else 0.0,
            "memory": process.rss / process.memory_limit if process.memory_limit else 0.0,
        }
        cause = max(parts, key=lambda name: parts[name])
        return Load(parts[cause], cause, parts)
