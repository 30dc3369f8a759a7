"""Ends activations that have been idle for their idle time-out.

Activations are kept in buckets, one per period. When a bucket is due, its activations that have been idle long enough
end. Each other one moves to the bucket of the earliest time at which it could end. So a call need not move anything.
"""

from __future__ import annotations

import asyncio
import math

from grange.aio.portions import PORTION
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.phase import Phase

SWEEP_BATCH = 1000
"""Number of activations examined before the event loop runs other tasks."""


class Collector:
    """The idle collector of one silo. `run` is its task; the owners of activations call `watch` for each new one."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._buckets: dict[int, list[Activation]] = {}

    def watch(self, activation: Activation) -> None:
        """Watch this activation until it is gone."""
        self._place(activation, self._due(activation), asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Sweep the due buckets once per period, for the life of the silo."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._period)
            now = loop.time()
            for number in [n for n in self._buckets if n * self._period <= now]:
                await self._sweep(self._buckets.pop(number), now)

    async def _sweep(self, bucket: list[Activation], now: float) -> None:
        ended = 0
        bucket.reverse()  # oldest last, and taken first
        while bucket:
            # Take each away: to free a million activations at once would hold the loop.
            activation = bucket.pop()
            if len(bucket) % SWEEP_BATCH == 0 or ended == PORTION:
                ended = 0
                await asyncio.sleep(0)
            if activation.phase > Phase.ACTIVE:
                continue
            if _unused(activation) and self._due(activation) <= now:
                activation.hosted.figures.collected += 1
                activation.deactivate(activation.hosted.idle_reason)
                ended += 1
            else:
                self._place(activation, max(self._due(activation), now + self._period), now)

    def _place(self, activation: Activation, due: float, now: float) -> None:
        if math.isfinite(activation.hosted.idle_timeout):
            # The grain may cancel an endless delay, so examine it again after one day at most.
            number = math.ceil(min(due, now + 86_400) / self._period)
            self._buckets.setdefault(number, []).append(activation)

    def _due(self, activation: Activation) -> float:
        return max(activation.last_used + activation.hosted.idle_timeout, activation.keep_until)


def idle_for(activation: Activation, seconds: float, now: float) -> bool:
    """Whether an activation has been idle for `seconds`; ignores its idle time-out."""
    return _unused(activation) and now - activation.last_used >= seconds and activation.keep_until <= now


def _unused(activation: Activation) -> bool:
    """Whether it is active, has no live enumeration, and no request but ticks of timers that do not keep it alive."""
    return (
        activation.phase is Phase.ACTIVE
        and not any(call.keeps_alive for call in (*activation.running, *activation.waiting))
        and not activation.deps.enumerations.of(activation)
    )
