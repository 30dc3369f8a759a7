"""Decides which rows leave the table, when, and which silo removes them. Pure; called by `janitor.py`."""

from __future__ import annotations

from datetime import datetime, timedelta

from grange.membership.model.member import Member, SiloStatus, moved
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Row, Table
from grange.membership.model.votes import fresh_votes
from grange.membership.table.transitions import Change, own_row
from grange.proto.ids import SiloAddress

RESOLUTION = timedelta(microseconds=1)
"""The smallest difference of two times in a row."""


def is_cleaner(table: Table, me: SiloAddress) -> bool:
    """Whether this silo cleans up: the active silo with the lowest address does, so only one silo works on it."""
    active = [row.member.address for row in table.rows if row.member.status is SiloStatus.ACTIVE]
    return min(active, default=None) == me


def evict(table: Table, me: SiloAddress, now: datetime, options: MembershipOptions) -> Change | None:
    """Declare a silo dead that has been joining for longer than `join_timeout`.

    `started` comes from the joining silo's own clock. So `stale_after`, by which clocks may differ, is added to the
    time-out. Raises DeclaredDead for a dead `me`.
    """
    own_row(table, me)
    if not options.evict_stuck_joiners or not is_cleaner(table, me):
        return None
    longest = timedelta(seconds=options.join_timeout) + options.stale_after
    for row in table.rows:
        if row.member.status is SiloStatus.JOINING and now - row.member.started > longest:
            return Change(moved(row.member, SiloStatus.DEAD), row.etag)
    return None


def cutoff(table: Table, now: datetime, options: MembershipOptions) -> datetime | None:
    """The time before which rows of dead silos are removed (see `MembershipTable.cleanup`); None: remove none.

    It covers the rows that are too old, and the oldest rows above the number `dead_kept`. Some rows must stay: those of
    silos that are leaving or joining, and those suspected lately, whose death an operator may still examine. Such a
    row keeps all younger rows.
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


def _last_seen(member: Member) -> datetime:
    return max(member.alive, member.started)


def _age(row: Row) -> tuple[datetime, SiloAddress]:
    return _last_seen(row.member), row.member.address
