"""The cluster as the dashboard knows it: members, and the newest answer of each silo with its age. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from grange.dashboard.changes import Changes
from grange.membership.model.member import Member, View
from grange.observability.snapshot import Snapshot


class SiloSeen(msgspec.Struct, frozen=True):
    """One silo: its newest snapshot and when it came (loop time; None: never), and why the last question failed.

    `second`: what it counted since the answer before; `recent`: within the last `RECENT` seconds or a little more.
    """

    member: Member
    snapshot: Snapshot | None = None
    at: float | None = None
    problem: str = ""
    second: Changes | None = None
    recent: Changes | None = None


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
        return None if silo.at is None else round(max(0.0, self.now - silo.at), 1)

    def of(self, name: str) -> list[SiloSeen]:
        """The silos with this name or address: none, or one."""
        return [silo for silo in self.silos if name in (silo.member.name, str(silo.member.address))]

    def fresh(self) -> Iterator[tuple[SiloSeen, Snapshot]]:
        """The silos that answered the last question. An old answer counts in no sum and in no point of a chart."""
        for silo in self.silos:
            if silo.snapshot is not None and not silo.problem:
                yield silo, silo.snapshot

    def seconds(self) -> Iterator[Changes]:
        """What the silos that answered counted since their answer before."""
        return (silo.second for silo, _ in self.fresh() if silo.second is not None)

    def recent(self) -> Iterator[Changes]:
        """What the silos that answered counted in the last seconds, for tables: they must not flicker."""
        return (silo.recent for silo, _ in self.fresh() if silo.recent is not None)
