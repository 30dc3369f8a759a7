"""The cluster as the dashboard knows it: members, and the newest answer of each silo with its age. Pure."""

from __future__ import annotations

import msgspec

from grange.membership.model.member import Member, View
from grange.proto.management import SiloState

STALE = 2.5
"""Seconds after which an answer is old: its figures leave every sum, and its row shows its age."""


class SiloSeen(msgspec.Struct, frozen=True):
    """One silo: its newest answer and when it came (loop time; None: never), and why the last question failed."""

    member: Member
    state: SiloState | None = None
    at: float | None = None
    problem: str = ""


class Picture(msgspec.Struct, frozen=True):
    """All silos at one moment: `time` in Unix seconds, `now` in loop time."""

    cluster: str
    view: View
    time: float
    now: float
    silos: tuple[SiloSeen, ...]

    @property
    def milliseconds(self) -> int:
        """The time for the API."""
        return int(self.time * 1000)

    def age(self, silo: SiloSeen) -> float | None:
        """Seconds since the newest answer of a silo; None if there was none."""
        return None if silo.at is None else max(0.0, self.now - silo.at)

    def fresh(self, silo: SiloSeen) -> SiloState | None:
        """The answer of a silo that answered the last question; an old answer counts in no sum."""
        return None if silo.problem else silo.state
