"""The dependencies of a membership agent on its silo: ways to reach other silos, clocks, random numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from grange import clock
from grange.membership.detection.liveness import Liveness
from grange.membership.detection.processes import NoProcesses, Processes
from grange.membership.model.member import Member
from grange.observability.counters import MembershipFigures
from grange.observability.events import Events
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate
from grange.runtime.system_target import Ask

AskProbe = Callable[[Member, bytes, float], Awaitable[bytes]]
"""Asks the probe port of a member; raises a `GrangeError` when no answer comes within the given seconds."""

Refuses = Callable[[str, int, float], Awaitable[bool]]
"""Whether a port of a host refuses a new connection within so many seconds: see `Transport.refuses`. Never raises."""

HeardFrom = Callable[[SiloAddress], float]
"""The event loop's time at which bytes last arrived from this silo on any connection; -inf: never."""


def heard_nothing(silo: SiloAddress) -> float:
    """The `heard_from` of an agent that has no connections."""
    return -math.inf


async def refuses_nothing(host: str, port: int, timeout: float) -> bool:
    """The `refuses` of an agent that cannot tell."""
    return False


@dataclass(frozen=True, kw_only=True)
class MembershipDeps:
    """Built by `silo/preparing.py`. `now` is the wall clock, for times in the table that people read; it may be set.

    Durations use the loop's clock, and `uptime` where the machine's sleep counts (`grange/clock.py`).

    Every turn of this silo passes `gate`; `gate` and `liveness` share one clock. `probe_line` asks the probe ports of
    other silos, which answer even while their event loops are blocked; None: probes use the ordinary connection.
    `refuses` and `processes` show that other silos have crashed.
    """

    ask: Ask
    liveness: Liveness
    rng: random.Random
    now: Callable[[], datetime] = clock.utc_now
    uptime: Callable[[], float] = clock.uptime
    heard_from: HeardFrom = heard_nothing
    refuses: Refuses = refuses_nothing
    processes: Processes = field(default_factory=NoProcesses)
    probe_line: AskProbe | None = None
    gate: Gate = field(default_factory=Gate)
    events: Events = field(default_factory=Events)
    figures: MembershipFigures = field(default_factory=MembershipFigures)
