"""When what was lent for a time must be renewed, and when it is over. Pure; times are of the loop, in seconds."""

from __future__ import annotations

import msgspec

RENEW_AT = 2 / 3
"""Part of a lease after which it is renewed: a third is left for a server that is away for a while."""

SHRUNK = 1 / 2
"""A renewed lease shorter than this part of the first one is near its end: it is not renewed again but replaced."""


class Lease(msgspec.Struct, frozen=True):
    """What was lent at `since` for `seconds`. 0 seconds: for ever."""

    since: float
    seconds: float
    first: float = 0.0
    """Seconds of the first lease, before renewals."""

    @property
    def due(self) -> float:
        """When to renew it; infinite if it never ends."""
        return self.since + self.seconds * RENEW_AT if self.seconds else float("inf")

    @property
    def end(self) -> float:
        """When it is over; infinite if never."""
        return self.since + self.seconds if self.seconds else float("inf")

    def renewed(self, now: float, seconds: float) -> Lease | None:
        """The lease after a renewal that gave `seconds` from now. None: it shrinks to its end, so take a new one."""
        first = self.first or self.seconds
        return Lease(now, seconds, first) if seconds >= first * SHRUNK else None
