"""The three questions of a supervisor to one silo: has it started, does it live, does it take grains?

The admin thread asks them, also while a turn blocks the event loop. So every answer is made from facts that one read
gets whole: a frozen view, a phase, a number. Liveness is about this process alone: a database or a peer that fails must
not make a supervisor restart healthy silos.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from grange.membership.agent import MembershipAgent
from grange.membership.model.member import SiloStatus
from grange.proto.management import Phase
from grange.silo.loop_watch import LoopWatch
from grange.silo.shutdown import Shutdown


class Check(msgspec.Struct, frozen=True):
    """One check and its reason, for people."""

    ok: bool
    text: str


Checks = dict[str, Check]
"""Checks by name."""


class UnknownCheck(ValueError):
    """A request excludes a check that does not exist."""


class HealthParts(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What the answers are made from. `dead_after` is the membership option `dead_loop_after`, in seconds."""

    agent: MembershipAgent
    shutdown: Shutdown
    loop_watch: LoopWatch
    dead_after: float


class Health:
    """The health of one silo, from before its start to after its stop. Every method may run in any thread."""

    def __init__(self) -> None:
        self._parts: HealthParts | None = None
        self._has_joined = False

    def watch(self, parts: HealthParts) -> None:
        """The parts of the silo exist from now on."""
        self._parts = parts

    def joined(self) -> None:
        """The silo has joined; it stays started until it ends."""
        self._has_joined = True

    def live(self) -> Checks:
        """Whether the process should go on; if not, a supervisor restarts it."""
        parts = self._parts
        if parts is None:
            return {"loop": Check(True, "the silo starts")}
        still, limit = parts.loop_watch.dead_seconds, parts.dead_after
        if still >= limit:
            return {"loop": Check(False, f"the event loop has stood still for {still:.0f} s, {limit:g} s at most")}
        return {"loop": Check(True, "the event loop runs" if not still else f"no step of the loop for {still:.1f} s")}

    def ready(self) -> Checks:
        """Whether the silo takes new grains and calls."""
        parts = self._parts
        if parts is None:
            return {"active": Check(False, "the silo starts")}
        status, phase, fenced = parts.agent.status, parts.shutdown.phase, parts.agent.fenced
        active = status is SiloStatus.ACTIVE
        serving = phase is Phase.SERVING
        return {
            "active": Check(active, f"the membership table shows {'no row' if status is None else status.name}"),
            "draining": Check(serving, "the silo serves" if serving else f"the silo stops: {phase.value}"),
            "fenced": Check(not fenced, f"no turn starts {fenced}" if fenced else "turns start"),
        }

    def started(self) -> Checks:
        """Whether the silo has joined once. It stays true: later states are a matter of the other two."""
        if self._has_joined:
            return {"joined": Check(True, "the silo has joined its cluster")}
        return {"joined": Check(False, "the silo opens its ports and stores" if self._parts is None else "it joins")}


def without(checks: Checks, excluded: Collection[str]) -> Checks:
    """The checks but those that are excluded by name. Raises UnknownCheck for a name that none of them has."""
    unknown = sorted(set(excluded) - set(checks))
    if unknown:
        raise UnknownCheck(f"there is no check {unknown[0]!a:.100} here; the checks are {_listed(sorted(checks))}")
    return {name: check for name, check in checks.items() if name not in excluded}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
