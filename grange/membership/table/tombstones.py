"""The dead silos that one silo remembers, so that no view shows them alive again. Pure; kept by `session.py`.

A database that fails over to a replica, or is restored, may show rows as alive that had been declared dead. Rule R4:
a silo that was seen dead once is dead for ever, even if the table later shows it alive.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from grange.membership.model.member import Member, SiloStatus, View
from grange.proto.ids import SiloAddress

RETENTION = 86_400.0
"""Seconds that a death is remembered after it was last seen. Far longer than a replica lags or a process is paused."""

MAX_TOMBSTONES = 1000
"""Most deaths remembered; those seen least recently are forgotten first."""


class Tombstones:
    """Generations seen dead, with their last rows. `now` is in seconds of a clock that is never set."""

    def __init__(self) -> None:
        self._seen: dict[SiloAddress, tuple[Member, float]] = {}

    @property
    def members(self) -> tuple[Member, ...]:
        """The rows of the dead, ordered by address."""
        return tuple(self._seen[silo][0] for silo in sorted(self._seen))

    def __contains__(self, silo: SiloAddress) -> bool:
        return silo in self._seen

    def remember(self, view: View, now: float) -> None:
        """Note the deaths in this view, and forget those that no view has shown for a day."""
        for member in view.with_status(SiloStatus.DEAD):
            self._seen.pop(member.address, None)
            self._seen[member.address] = (member, now)
        old = [silo for silo, (_, seen) in self._seen.items() if now - seen > RETENTION]
        for silo in [*old, *list(self._seen)[: max(0, len(self._seen) - MAX_TOMBSTONES)]]:
            self._seen.pop(silo, None)

    def returned(self, members: Iterable[Member]) -> tuple[SiloAddress, ...]:
        """The silos among these that are dead and not shown as dead."""
        return tuple(each.address for each in members if each.address in self and each.status is not SiloStatus.DEAD)

    def corrected(self, view: View) -> View:
        """The view with the remembered dead as DEAD."""
        if not self.returned(view.members):
            return view
        return View(view.version, tuple(self._corrected(member) for member in view.members))

    def _corrected(self, member: Member) -> Member:
        return msgspec.structs.replace(member, status=SiloStatus.DEAD) if member.address in self else member
