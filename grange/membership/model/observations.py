"""How long one silo has seen each entry of the table unchanged, by its own monotonic clock. Pure; held by `Session`.

The times in a row come from the clock of the silo that wrote them. A clock may be wrong, and may be set. So no silo
compares such a time with its own clock: it notes when it first saw the value, and counts from there (ADR 0063).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from grange.membership.model.member import Member, SiloStatus, Vote
from grange.proto.ids import SiloAddress


class Ages(msgspec.Struct, frozen=True):
    """Seconds since this silo first saw each entry as it is now. An entry that is not here is seen for the first time.

    `alive` counts from the last change of a row's alive time, `statuses` from the row's last change of status, `votes`
    from the first sight of a vote, by suspect and vote.
    """

    alive: dict[SiloAddress, float] = {}
    statuses: dict[SiloAddress, float] = {}
    votes: dict[tuple[SiloAddress, Vote], float] = {}

    def of_vote(self, suspect: SiloAddress, vote: Vote) -> float:
        """The age of a vote in seconds."""
        return self.votes.get((suspect, vote), 0.0)

    def of_status(self, silo: SiloAddress) -> float:
        """Seconds since the silo has its status."""
        return self.statuses.get(silo, 0.0)


class Observations:
    """The entries that one silo has seen, each with the time at which it saw the present value first.

    All times are seconds of this silo's event loop.
    """

    def __init__(self) -> None:
        self._alive: dict[SiloAddress, tuple[datetime, float]] = {}
        self._statuses: dict[SiloAddress, tuple[SiloStatus, float]] = {}
        self._votes: dict[tuple[SiloAddress, Vote], float] = {}

    def on_members(self, members: Iterable[Member], now: float) -> None:
        """Note the statuses and votes of a view, which this silo or another one has read."""
        found = tuple(members)
        before = self._statuses
        self._statuses = {}
        for member in found:
            known = before.get(member.address)
            same = known is not None and known[0] is member.status
            self._statuses[member.address] = known if known is not None and same else (member.status, now)
        keys = ((member.address, vote) for member in found for vote in member.votes)
        self._votes = {key: self._votes.get(key, now) for key in keys}

    def on_read(self, members: Iterable[Member], now: float) -> None:
        """Note the alive times of a table that this silo has read; a view of another silo may hold old ones."""
        before = self._alive
        self._alive = {}
        for member in members:
            known = before.get(member.address)
            same = known is not None and known[0] == member.alive
            self._alive[member.address] = known if known is not None and same else (member.alive, now)

    def restart_alive(self) -> None:
        """Count all alive times from the next read on: no silo could write to the table, or it is another table."""
        self._alive = {}

    def ages(self, now: float) -> Ages:
        """The ages at this time."""
        return Ages(
            {silo: now - since for silo, (_, since) in self._alive.items()},
            {silo: now - since for silo, (_, since) in self._statuses.items()},
            {key: now - since for key, since in self._votes.items()},
        )
