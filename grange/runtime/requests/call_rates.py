"""Decides whether a call is within the rates of its method (`@rate_limited`). Pure.

Each rate has one bucket for each grain, or caller, or both. A bucket is one number: the time at which it will be full
again (the generic cell rate algorithm). A full bucket is the same as none, so only those in use take memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from grange.grains.decorators import CallRate
from grange.proto.ids import GrainId

MOST_BUCKETS = 10_000
"""Buckets of one rate that are kept; further callers share one, until others are full again."""

SWEEP_PERIOD = 1.0
"""Least seconds between two searches for buckets that are full again."""

SLACK = 1e-9
"""Seconds of rounding errors that are forgiven."""

_SHARED = 0
"""The key of the bucket that is shared when there are too many."""


class Buckets:
    """The buckets of one rate. `keys` are hashes: what a caller names must not take memory."""

    __slots__ = ("_full_at", "_interval", "_swept", "_tolerance")

    def __init__(self, rate: CallRate) -> None:
        self._interval = rate.seconds / rate.calls
        self._tolerance = (rate.burst - 1) * self._interval
        self._full_at: dict[int, float] = {}
        self._swept = -math.inf

    def wait(self, key: int, now: float) -> float:
        """Seconds until a call is within the rate; 0: it is now."""
        ahead = self._full_at.get(self._kept(key, now), now) - now - self._tolerance
        return ahead if ahead > SLACK else 0.0

    def take(self, key: int, now: float) -> None:
        """Count a call that is within the rate."""
        key = self._kept(key, now)
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._interval

    def __len__(self) -> int:
        return len(self._full_at)

    def _kept(self, key: int, now: float) -> int:
        if key in self._full_at or len(self._full_at) < MOST_BUCKETS:
            return key
        if now - self._swept >= SWEEP_PERIOD:
            self._swept = now
            self._full_at = {each: at for each, at in self._full_at.items() if at > now}
        return key if len(self._full_at) < MOST_BUCKETS else _SHARED


class MethodRates:
    """The rates of one method in one silo. A call must be within all of them."""

    __slots__ = ("_rates",)

    def __init__(self, rates: Sequence[CallRate]) -> None:
        self._rates = [(rate, Buckets(rate)) for rate in rates]

    def admit(self, grain_id: GrainId, context: Mapping[str, object] | None, now: float) -> tuple[float, CallRate]:
        """Count a call, or return the seconds until it is within the rates, and the rate that it exceeds most.

        `now` is in seconds. A call that exceeds a rate counts in none.
        """
        keyed = [(rate, buckets, _key(rate, grain_id, context)) for rate, buckets in self._rates]
        waits = [(buckets.wait(key, now), rate) for rate, buckets, key in keyed]
        wait, exceeded = max(waits, key=lambda each: each[0])
        if wait == 0.0:
            for _, buckets, key in keyed:
                buckets.take(key, now)
        return math.ceil(wait * 1000) / 1000, exceeded  # in milliseconds, as the wire carries it


def _key(rate: CallRate, grain_id: GrainId, context: Mapping[str, object] | None) -> int:
    caller = None if not (rate.caller and context) else context.get(rate.caller)
    return hash((grain_id.key if rate.per == "grain" else None, caller))
