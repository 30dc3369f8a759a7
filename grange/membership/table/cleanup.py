"""What is swept out of the table, and by whom. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from grange.membership.model.member import Member, SiloStatus, moved
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Row, Table
from grange.membership.model.votes import fresh_votes
from grange.membership.table.transitions import Change, own_row
from grange.proto.ids import SiloAddress


def sweeps(table: Table, me: SiloAddress) -> bool:
    """Whether this silo is the one that sweeps: the first active one by address, so that not all do it."""
    active = [row.member.address for row in table.rows if row.member.status is SiloStatus.ACTIVE]
    return min(active, default=None) == me


def evict(table: Table, me: SiloAddress, now: datetime, options: MembershipOptions) -> Change | None:
    """Declare a silo dead that has been joining for longer than it may; its own clock wrote when it began, so it gets
    the time that clocks may differ. Raises DeclaredDead for a dead `me`.
    """
    own_row(table, me)
    if not options.evict_stuck_joiners or not sweeps(table, me):
        return None
    longest = timedelta(seconds=options.join_timeout) + options.stale_after
    for row in table.rows:
        if row.member.status is SiloStatus.JOINING and now - row.member.started > longest:
            return Change(moved(row.member, SiloStatus.DEAD), row.etag)
    return None


def cutoff(table: Table, now: datetime, options: MembershipOptions) -> datetime | None:
    """Before which time rows of the dead are to be removed (see `MembershipTable.cleanup`). None: none.

    Those that are too old, and the oldest of those that are too many. A row that must stay (of a silo that is leaving
    or joining, or one suspected of late, whose death people may still look into) keeps all younger ones.
    """
    dead = sum(row.member.status is SiloStatus.DEAD for row in table.rows)
    oldest = now - timedelta(seconds=options.dead_kept_for)
    before: datetime | None = None
    for row in sorted((row for row in table.rows if row.member.status is not SiloStatus.ACTIVE), key=_age):
        last = _last_seen(row.member)
        too_old = last < oldest
        stays = row.member.status is not SiloStatus.DEAD or bool(fresh_votes(row.member, now, options.vote_window))
        if stays or not (too_old or dead > options.dead_kept):
            return None if before is None else min(last, before)
        dead -= 1
        before = last + RESOLUTION
    return before


RESOLUTION = timedelta(microseconds=1)
"""What two times differ by at least."""


def _last_seen(member: Member) -> datetime:
    return max(member.alive, member.started)


def _age(row: Row) -> tuple[datetime, SiloAddress]:
    return _last_seen(row.member), row.member.address
