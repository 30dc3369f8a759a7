"""Decides every change of a row. Pure: takes the table as read, returns the one next change.

The caller (`Session.settle`) calls a function again after every change and after every lost race, until it returns
None: the table has reached the goal. A write whose answer was lost therefore needs no case of its own. The protocol
follows Orleans' extended membership protocol.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from datetime import datetime

import msgspec

from grange.errors import DeclaredDead, JoinFailed
from grange.membership.model.evidence import Evidence
from grange.membership.model.member import Member, SiloStatus, View, Vote, make_view, moved
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Row, Table, TableVersion
from grange.membership.model.votes import cast_vote, fresh_votes, is_overdue, required_votes, without_expired
from grange.proto.ids import SiloAddress


class Change(msgspec.Struct, frozen=True):
    """One row to write: over the row with this etag, or (None) as a new one. `why` goes into the row, for people."""

    member: Member
    row_etag: str | None
    why: str


class Crash(msgspec.Struct, frozen=True):
    """What shows that a silo has crashed, and the seconds for which its grains are held then (0: it is proven)."""

    evidence: Evidence
    hold: float


OBSERVERS = 2
"""Silos on different hosts that must find that a silo refuses connections."""


class VersionOrder(enum.StrEnum):
    """How a version just read relates to the one known before the read began."""

    NEWER = "newer"
    SAME = "same"
    LOST = "lost"


def compare_versions(known: TableVersion | None, read: TableVersion) -> VersionOrder:
    """LOST: another incarnation, none at all, or a lower number; the database lost changes that it had confirmed."""
    if known is None or (not known.incarnation and read.incarnation):
        return VersionOrder.NEWER
    if read.incarnation != known.incarnation or read.number < known.number:
        return VersionOrder.LOST
    return VersionOrder.NEWER if read.number > known.number else VersionOrder.SAME


def view_of(table: Table) -> View:
    """The view of a table: its members in the order that all silos use."""
    return make_view(table.version.number, (row.member for row in table.rows))


def enter(table: Table, me: Member) -> Change | None:
    """Insert `me` as JOINING, after every older generation at its endpoint is DEAD.

    Raises JoinFailed when a newer generation has the endpoint, another process has the address, or the row of `me` is
    DEAD already. A silo chooses its generation after it has read the table (`generations.py`), so each of them means
    that another process has started at the endpoint since.
    """
    for row in table.rows:
        if row.member.address.endpoint != me.address.endpoint:
            continue
        if row.member.address.generation > me.address.generation:
            raise JoinFailed(
                f"silo {me.address} cannot join: silo {row.member.address} started later at the same endpoint; "
                f"stop this process or give it another port"
            )
        if row.member.address != me.address and row.member.status is not SiloStatus.DEAD:
            return _to(row, SiloStatus.DEAD, "a newer silo starts at its endpoint")
    own = table.get(me.address)
    if own is None:
        return Change(msgspec.structs.replace(me, status=SiloStatus.JOINING, votes=()), None, "it starts")
    if own.member.run != me.run:
        raise JoinFailed(
            f"silo {me.address} cannot join: another process started at the same time at the same endpoint; stop one "
            f"of them or give it another port"
        )
    if own.member.status is SiloStatus.DEAD:
        raise JoinFailed(f"silo {me.address} was declared dead before it joined; start it again as a new generation")
    return None


def unreached(table: Table, me: SiloAddress, reached: Collection[SiloAddress]) -> tuple[SiloAddress, ...]:
    """The active silos that a joining silo must still reach before it may become active."""
    return tuple(
        row.member.address
        for row in table.rows
        if row.member.status is SiloStatus.ACTIVE and row.member.address != me and row.member.address not in reached
    )


def activate(table: Table, me: SiloAddress, reached: Collection[SiloAddress]) -> Change | None:
    """Make `me` ACTIVE. None while an active silo is unreached, and once `me` is no longer JOINING.

    Raises DeclaredDead when the other silos declared `me` dead meanwhile.
    """
    own = own_row(table, me)
    if own.member.status is not SiloStatus.JOINING or unreached(table, me, reached):
        return None
    return _to(own, SiloStatus.ACTIVE, "it has reached every active silo")


def leave(table: Table, me: SiloAddress) -> Change | None:
    """Make `me` LEAVING: no silo places new grains on it. Raises DeclaredDead when `me` was declared dead."""
    own = own_row(table, me)
    return _to(own, SiloStatus.LEAVING, "it stops") if own.member.status.rank < SiloStatus.LEAVING.rank else None


def set_cordon(table: Table, me: SiloAddress, cordoned: bool) -> Change | None:
    """Write whether `me` takes new grains. Raises DeclaredDead when `me` was declared dead."""
    own = own_row(table, me)
    if own.member.cordoned == cordoned:
        return None
    why = "an operator cordons it" if cordoned else "an operator ends its cordon"
    return Change(msgspec.structs.replace(own.member, cordoned=cordoned), own.etag, why)


def restate(table: Table, me: Member) -> Change | None:
    """Write again what `me` is, if its row has lost some of it: a silo of an earlier release, which votes on it, drops
    the fields that it does not know. Raises DeclaredDead when `me` was declared dead.
    """
    own = own_row(table, me.address)
    if not has_lost(own.member, me):
        return None
    return Change(_whole(own.member, me), own.etag, "a silo of an earlier release has dropped a part of its row")


def has_lost(row: Member, me: Member) -> bool:
    """Whether the row lacks what this silo wrote into it when it joined."""
    return row.run == me.run and row != _whole(row, me)


def declare_dead(table: Table, me: SiloAddress, target: SiloAddress, now: datetime) -> Change | None:
    """Write the death of `target` by the vote of `me`, as an operator wants it. None if it is dead or gone.

    The vote makes it a death by others, so stores fence the silo. Raises DeclaredDead when `me` was declared dead.
    """
    own_row(table, me)
    row = table.get(target)
    if row is None or row.member.status is SiloStatus.DEAD:
        return None
    others = tuple(vote for vote in row.member.votes if vote.voter != me)
    voted = msgspec.structs.replace(row.member, votes=(*others, Vote(me, now)))
    return Change(moved(voted, SiloStatus.DEAD), row.etag, "an operator declares it dead")


def mark_dead(table: Table, me: SiloAddress, run: str = "") -> Change | None:
    """Write the death of `me`, the silo itself.

    None if other silos were first, the row is gone, or another process wrote it (`run`).
    """
    own = table.get(me)
    if own is None or own.member.run != run or own.member.status is SiloStatus.DEAD:
        return None
    return _to(own, SiloStatus.DEAD, "it has stopped")


def suspect(
    table: Table,
    target: SiloAddress,
    voters: tuple[SiloAddress, ...],
    now: datetime,
    ages: Ages,
    options: MembershipOptions,
) -> Change | None:
    """Vote for the death of `target`, and write the death if that vote is enough.

    The first of `voters` is the silo that writes. A second voter, which found the same, counts while it is active. A
    joining silo may vote only on a stale or already suspected silo, because it is more likely to be cut off itself.
    `now` is the wall clock, written beside the vote. Raises DeclaredDead when the voter was declared dead: dead silos
    do not vote.
    """
    voter, *others = voters
    own, row = own_row(table, voter), table.get(target)
    if row is None:
        return None
    stale = stale_in(table, ages, options)
    suspected = bool(fresh_votes(row.member, ages, options.vote_expiry))
    if own.member.status is SiloStatus.JOINING and not suspected and target not in stale:
        return None
    active = {row.member.address for row in table.rows if row.member.status is SiloStatus.ACTIVE}
    required = required_votes(options.votes, len(active - stale))
    casting = (voter, *(other for other in others if other in active))
    voted = cast_vote(row.member, casting, now, ages, options.vote_expiry, required)
    if voted is None:
        return None
    return Change(voted, row.etag, f"vote {len(voted.votes)} of {required}")


def declare_crashed(
    table: Table, target: SiloAddress, voters: tuple[SiloAddress, ...], now: datetime, crash: Crash
) -> Change | None:
    """Write the death of a silo that has crashed, on evidence that needs no further votes.

    The first of `voters` is the silo that writes. If connections were refused, each of them must have found that, they
    must be active and on different hosts, and every living silo must know what a hold is. None: the evidence does not
    suffice, or the silo is dead or gone. Raises DeclaredDead when the voter was declared dead.
    """
    own_row(table, voters[0])
    row = table.get(target)
    if row is None or row.member.status is SiloStatus.DEAD:
        return None
    if crash.evidence is Evidence.REFUSED and not _suffices(table, voters):
        return None
    others = tuple(vote for vote in row.member.votes if vote.voter not in voters)
    votes = (*others, *(Vote(voter, now) for voter in voters))
    dead = msgspec.structs.replace(moved(row.member, SiloStatus.DEAD), votes=votes, hold=crash.hold)
    return Change(dead, row.etag, crash.evidence)


def _suffices(table: Table, voters: tuple[SiloAddress, ...]) -> bool:
    """Whether these silos may declare a death because connections are refused.

    A firewall refuses, too, and so may the network of one host for all silos on it. A silo of an earlier release would
    hold the grains of the dead silo for too short a time.
    """
    living = [row.member for row in table.rows if row.member.status is not SiloStatus.DEAD]
    active = {member.address for member in living if member.status is SiloStatus.ACTIVE}
    hosts = {voter.host for voter in voters if voter in active}
    return len(hosts) >= OBSERVERS and all(member.process is not None for member in living)


def finish_death(table: Table, me: SiloAddress, ages: Ages, options: MembershipOptions) -> Change | None:
    """Write the death of a silo whose row holds enough votes and is not dead. Raises DeclaredDead for a dead `me`."""
    own_row(table, me)
    for row in table.rows:
        if row.member.address != me and is_overdue(row.member, ages, options.vote_expiry, options.votes):
            return _to(row, SiloStatus.DEAD, "it had enough votes before")
    return None


def drop_votes(table: Table, me: SiloAddress, ages: Ages, options: MembershipOptions) -> Change | None:
    """Remove expired votes from the row of a living silo. Raises DeclaredDead for a dead `me`."""
    own_row(table, me)
    for row in table.rows:
        changed = without_expired(row.member, ages, options.vote_expiry)
        if changed is not None:
            return Change(changed, row.etag, "votes expired")
    return None


def stale_in(table: Table, ages: Ages, options: MembershipOptions) -> frozenset[SiloAddress]:
    """The silos whose alive time this silo has seen unchanged for more than `stale_after`."""
    silos = (row.member.address for row in table.rows)
    return frozenset(silo for silo in silos if ages.alive.get(silo, 0.0) > options.stale_after)


def own_row(table: Table, me: SiloAddress) -> Row:
    """The row of `me`. Raises DeclaredDead when it is DEAD or gone, or a newer generation has the endpoint."""
    view = view_of(table)
    own = table.get(me)
    if own is None or view.is_dead(me):
        raise death_error(view, me)
    return own


def death_error(view: View, me: SiloAddress) -> DeclaredDead:
    """The error with the reason why `me` must end."""
    own = view.get(me)
    if own is None:
        reason = "its row is gone from the membership table"
    elif own.status is SiloStatus.DEAD:
        voters = ", ".join(str(vote.voter) for vote in own.votes)
        without = "without a vote: a newer process was at its endpoint, or it was joining for too long"
        reason = f"its row is dead, by the votes of {voters}" if voters else f"its row is dead, {without}"
    else:
        reason = "a newer generation has its endpoint"
    return DeclaredDead(
        f"silo {me} must end: {reason} (table version {view.version}); start it again as a new generation"
    )


def must_end(view: View, me: SiloAddress) -> bool:
    """Whether a silo that once wrote its row must end: the row is DEAD or gone, or a newer generation replaced it."""
    return view.get(me) is None or view.is_dead(me)


def _to(row: Row, status: SiloStatus, why: str) -> Change:
    return Change(moved(row.member, status), row.etag, why)


def _whole(row: Member, me: Member) -> Member:
    """The row with all that `me` is, and what may change of a row."""
    return msgspec.structs.replace(
        me, status=row.status, started=row.started, alive=row.alive, votes=row.votes, cordoned=row.cordoned,
        written=row.written, hold=row.hold,
    )  # fmt: skip
