"""What disturbs a simulated cluster: lost and late messages, slow lines, processes that stand still."""

from __future__ import annotations

import random

import msgspec

LATENCY = 0.0005
"""Seconds that a message travels without a disturbance."""

RETRANSMISSION = (0.2, 0.4)
"""Seconds by which a lost packet delays its message: the shortest retransmission of Linux, and the next."""


class Disturbance(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and shares. `lost` messages never arrive; `late` ones by a retransmission later.

    `delay` and `jitter` are of one direction. Every process stands still for up to `pause` seconds, `pause_every`
    seconds apart on average, and for between the two `stalls`, `stall_every` apart. Its probe thread stands still with
    it, and takes what has arrived when it goes on.
    """

    lost: float = 0.0
    late: float = 0.0
    delay: float = LATENCY
    jitter: float = 0.0
    pause: float = 0.0
    pause_every: float = 20.0
    stalls: tuple[float, float] = (0.0, 0.0)
    stall_every: float = 1.0

    def is_lost(self, rng: random.Random) -> bool:
        """Whether a message never arrives."""
        return rng.random() < self.lost

    def travel(self, rng: random.Random) -> float:
        """Seconds that a message which is not lost for ever travels."""
        seconds = self.delay + (rng.uniform(-self.jitter, self.jitter) if self.jitter else 0.0)
        return seconds + rng.uniform(*RETRANSMISSION) if rng.random() < self.late else seconds


CALM = Disturbance()
_PAUSES = {"pause": 2.0}
_LOSS = {"lost": 0.05}
_LATE = {"late": 0.05}
_DELAY = {"delay": 0.2, "jitter": 0.1}
_HOGS = {"stalls": (0.05, 0.4)}

DISTURBANCES: dict[str, Disturbance] = {
    "calm": CALM,
    "pauses": msgspec.structs.replace(CALM, **_PAUSES),
    "loss": msgspec.structs.replace(CALM, **_LOSS),
    "late": msgspec.structs.replace(CALM, **_LATE),
    "delay": msgspec.structs.replace(CALM, **_DELAY),
    "hogs": msgspec.structs.replace(CALM, **_HOGS),
    "all": msgspec.structs.replace(CALM, **_PAUSES, **_LATE, **_DELAY, **_HOGS),
    "all and loss": msgspec.structs.replace(CALM, **_PAUSES, **_LOSS, **_LATE, **_DELAY, **_HOGS),
}
"""By name. gRPC and TCP send a lost packet again, so "late" is what a lossy line does to them. "loss" loses messages
for ever, as no transport of grange does: such figures show how far a false death is.
"""
