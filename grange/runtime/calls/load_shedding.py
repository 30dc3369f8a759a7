"""Refuses a share of the clients' requests while the event loop of a silo is late. Pure.

The share grows while the lag stays above the limit, and shrinks below it. So a silo finds the load that it can serve,
and does not swing between all and nothing. Requests of other silos are not refused: they are parts of calls that were
admitted already. Nor are questions to the silo itself.
"""

from __future__ import annotations

SMOOTHING = 0.2
"""The weight (0 to 1) of the newest lag in the mean."""

STEP = 0.05
"""The change of the share at each measurement; 20 measurements, one second, take it from nothing to almost all."""

MOST = 0.95
"""The largest share, so that some requests show whether the silo can serve again."""

RETRY_AFTER = 1.0
"""Seconds after which a refused caller may try again: until then the share can have changed completely."""


class LoadShedder:
    """The shedding of one silo. `limit`: seconds of lag; 0: never. `share` (0 to 1) of the requests is refused now."""

    __slots__ = ("_due", "lag", "limit", "share")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.lag = 0.0
        self.share = 0.0
        self._due = 0.0  # refusals that are due; a whole one is made

    def measured(self, lag: float) -> bool:
        """The event loop was this late, in seconds. Returns whether the shedding begins with this."""
        if not self.limit:
            return False
        before = self.share
        self.lag += SMOOTHING * (lag - self.lag)
        self.share = min(MOST, before + STEP) if self.lag > self.limit else max(0.0, before - STEP)
        return not before and self.share > 0

    def refuses(self) -> bool:
        """Whether to refuse the next request. Refusals are spread evenly."""
        self._due += self.share
        if self._due < 1.0:
            return False
        self._due -= 1.0
        return True
