"""What a silo's membership agent is given by the silo around it: ways to reach others, clocks, chance."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from grange import clock
from grange.membership.detection.liveness import Liveness
from grange.membership.model.member import Member
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate
from grange.runtime.system_target import Ask

AskProbe = Callable[[Member, bytes, float], Awaitable[bytes]]
"""Asks the probe port of a member; raises a `GrangeError` when no answer comes within so many seconds."""

HeardFrom = Callable[[SiloAddress], float]
"""When anything last arrived from this silo, by any connection, in the event loop's time; -inf: never."""


def heard_nothing(silo: SiloAddress) -> float:
    """For an agent without connections that could be asked."""
    return -math.inf


@dataclass(frozen=True, kw_only=True)
class MembershipDeps:
    """Built by `silo/startup.py`. `now` is the wall clock, for what is written down; durations are the loop's.

    `gate` is what every turn of this silo passes; it and `liveness` have one clock. `probe_line` asks ports of their
    own, which answer also while an event loop is blocked; None: probes go by the ordinary connection.
    """

    ask: Ask
    liveness: Liveness
    rng: random.Random
    now: Callable[[], datetime] = clock.utc_now
    heard_from: HeardFrom = heard_nothing
    probe_line: AskProbe | None = None
    gate: Gate = field(default_factory=Gate)
