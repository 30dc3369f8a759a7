"""Decides which rows leave the table, when, and which silo removes them. Pure; called by `janitor.py`."""

from __future__ import annotations

from datetime import datetime

from grange.membership.model.member import Member, SiloStatus, moved
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Row, Table
from grange.membership.model.votes import RESOLUTION, fresh_votes
from grange.membership.table.transitions import Change, own_row
from grange.proto.ids import SiloAddress


def is_cleaner(table: Table, me: SiloAddress) -> bool:
    """Whether this silo cleans up: the active silo with the lowest address does, so only one silo works on it."""
    active = [row.member.address for row in table.rows if row.member.status is SiloStatus.ACTIVE]
    return min(active, default=None) == me


def evict(table: Table, me: SiloAddress, ages: Ages, options: MembershipOptions) -> Change | None:
    """Declare a silo dead that this one has seen joining for longer than `join_timeout`.

    Raises DeclaredDead for a dead `me`.
    """
    own_row(table, me)
    if not options.evict_stuck_joiners or not is_cleaner(table, me):
        return None
    for row in table.rows:
        joining = row.member.status is SiloStatus.JOINING
        if joining and ages.of_status(row.member.address) > options.join_timeout + options.stale_after:
            why = "it was joining for longer than join_timeout"
            return Change(moved(row.member, SiloStatus.DEAD), row.etag, why)
    return None


def cutoff(table: Table, ages: Ages, options: MembershipOptions) -> datetime | None:
    """The time before which rows of dead silos are removed (see `MembershipTable.cleanup`); None: remove none.

    It covers the rows that this silo has seen dead for too long, and the oldest rows above the number `dead_kept`; the
    rows' own times only give their order. Some rows must stay: those of silos that are leaving or joining, those
    suspected lately, whose death an operator may still examine, and the one of the highest generation, above which the
    next silo chooses its own. Such a row keeps all younger rows.
    """
    dead = sum(row.member.status is SiloStatus.DEAD for row in table.rows)
    newest = max(table.rows, key=_rank, default=None)
    before: datetime | None = None
    for row in sorted((row for row in table.rows if row.member.status is not SiloStatus.ACTIVE), key=_age):
        last = _last_seen(row.member)
        too_old = ages.of_status(row.member.address) > options.dead_kept_for
        if row is newest or _must_stay(row.member, ages, options) or not (too_old or dead > options.dead_kept):
            return None if before is None else min(last, before)
        dead -= 1
        before = last + RESOLUTION
    return before


def _must_stay(member: Member, ages: Ages, options: MembershipOptions) -> bool:
    return member.status is not SiloStatus.DEAD or bool(fresh_votes(member, ages, options.vote_expiry))


def _rank(row: Row) -> tuple[int, bool, tuple[datetime, SiloAddress]]:
    """The order of generations; of equal ones a living silo's is the highest, so that no dead row has to stay."""
    return row.member.address.generation, row.member.status is not SiloStatus.DEAD, _age(row)


def _last_seen(member: Member) -> datetime:
    return max(member.alive, member.started)


def _age(row: Row) -> tuple[datetime, SiloAddress]:
    return _last_seen(row.member), row.member.address
