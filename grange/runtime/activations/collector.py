"""Ends activations that have been idle for their age.

Activations wait in buckets of one period each. When a bucket is due, each activation in it is either unused long enough
and ends, or moves to the bucket of the earliest time at which it could be. So looking costs nothing per call.
"""

from __future__ import annotations

import asyncio
import math
from typing import cast

from grange.runtime.activations.activation import Activation, Phase
from grange.runtime.requests.invocation import Invocation

CHUNK = 1000
"""Activations looked at before the loop gets a turn."""


class Collector:
    """The idle collector of one silo. `run` is its task; `watch` is called for each new activation."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._buckets: dict[int, list[Activation]] = {}

    def watch(self, activation: Activation) -> None:
        """Look after this activation until it is gone."""
        self._place(activation, self._due(activation), asyncio.get_running_loop().time())

    async def run(self) -> None:
        """For the life of the silo: sweep the due buckets once per period."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._period)
            now = loop.time()
            for number in [n for n in self._buckets if n * self._period <= now]:
                await self._sweep(self._buckets.pop(number), now)

    async def _sweep(self, bucket: list[Activation], now: float) -> None:
        for position, activation in enumerate(bucket):
            if position % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
            if activation.phase > Phase.ACTIVE:
                continue
            if _unused(activation) and self._due(activation) <= now:
                activation.deactivate(f"idle for {activation.hosted.age:g} s")
            else:
                self._place(activation, max(self._due(activation), now + self._period), now)

    def _place(self, activation: Activation, due: float, now: float) -> None:
        if math.isfinite(activation.hosted.age):
            # An endless delay may be taken back, so look again once a day.
            number = math.ceil(min(due, now + 86_400) / self._period)
            self._buckets.setdefault(number, []).append(activation)

    def _due(self, activation: Activation) -> float:
        return max(activation.last_used + activation.hosted.age, activation.keep_until)


def idle_for(activation: Activation, seconds: float, now: float) -> bool:
    """Whether an activation has been idle so long, whatever its own age says."""
    return _unused(activation) and now - activation.last_used >= seconds and activation.keep_until <= now


def _unused(activation: Activation) -> bool:
    """Active, and nothing runs or waits but ticks of timers that do not keep it alive."""
    requests = (*activation.mailbox.running, *(activation.mailbox.waiting or ()))
    return activation.phase is Phase.ACTIVE and not any(
        call.keeps_alive for call in cast("tuple[Invocation, ...]", requests)
    )
