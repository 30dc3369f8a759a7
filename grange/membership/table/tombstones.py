"""The dead that one silo remembers, so that none of them returns. Pure; kept by `session.py`.

A database that fails over to a replica, or is restored, may show rows as alive that had been declared dead. Rule R4:
who was seen dead once is dead for ever, whatever the table says later.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from grange.membership.model.member import Member, SiloStatus, View
from grange.proto.ids import SiloAddress

REMEMBERED = timedelta(hours=24)
"""How long after it was last seen dead: far longer than any replica lags or any paused process sleeps."""

LIMIT = 1000
"""How many at most; the ones not seen for longest are forgotten first."""


class Tombstones:
    """Generations seen dead, with their last rows. `now` is the wall clock, as everywhere in the table."""

    def __init__(self) -> None:
        self._seen: dict[SiloAddress, tuple[Member, datetime]] = {}

    @property
    def members(self) -> tuple[Member, ...]:
        """Their rows, dead, ordered by address."""
        return tuple(self._seen[silo][0] for silo in sorted(self._seen))

    def __contains__(self, silo: SiloAddress) -> bool:
        return silo in self._seen

    def remember(self, view: View, now: datetime) -> None:
        """Note everybody whom this view has as dead, and forget whom nobody has mentioned for a day."""
        for member in view.with_status(SiloStatus.DEAD):
            self._seen.pop(member.address, None)
            self._seen[member.address] = (member, now)
        old = [silo for silo, (_, seen) in self._seen.items() if now - seen > REMEMBERED]
        for silo in [*old, *list(self._seen)[: max(0, len(self._seen) - LIMIT)]]:
            self._seen.pop(silo, None)

    def returned(self, members: Iterable[Member]) -> tuple[SiloAddress, ...]:
        """Who is dead and does not look it."""
        return tuple(each.address for each in members if each.address in self and each.status is not SiloStatus.DEAD)

    def corrected(self, view: View) -> View:
        """The view as it should be: with the dead as dead."""
        if not self.returned(view.members):
            return view
        return View(view.version, tuple(self._corrected(member) for member in view.members))

    def _corrected(self, member: Member) -> Member:
        return msgspec.structs.replace(member, status=SiloStatus.DEAD) if member.address in self else member
