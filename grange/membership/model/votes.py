"""Decides when votes declare a silo dead. Pure: takes a row, returns the row to write.

Votes are stored in the suspect's own row and are written by compare-and-swap. Silos therefore agree on which silos are
dead, even when they disagree on which silos answer. Follows Orleans' protocol, except that a vote's age is the time for
which the reader has seen it (`observations.py`), not the difference of two clocks.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from grange.membership.model.member import Member, SiloStatus, Vote, moved
from grange.membership.model.observations import Ages
from grange.proto.ids import SiloAddress

RESOLUTION = timedelta(microseconds=1)
"""The smallest difference of two times in a row."""


def fresh_votes(member: Member, ages: Ages, expiry: float) -> tuple[Vote, ...]:
    """The votes that still count: those that this silo has seen for less than `expiry` seconds."""
    return tuple(vote for vote in member.votes if ages.of_vote(member.address, vote) < expiry)


def without_expired(member: Member, ages: Ages, expiry: float) -> Member | None:
    """The row without the votes that no longer count; None if all count, or the silo is dead.

    Otherwise a silo that starts later, and sees such a vote for the first time, would count it.
    """
    fresh = fresh_votes(member, ages, expiry)
    if member.status is SiloStatus.DEAD or fresh == member.votes:
        return None
    return msgspec.structs.replace(member, votes=fresh)


def required_votes(votes: int, live: int) -> int:
    """The number of fresh votes that declare a silo dead: `votes`, but at most half of the `live` silos, rounded up.

    `live` silos are active and not stale.
    """
    return max(1, min(votes, (live + 1) // 2))


def cast_vote(
    member: Member, voters: tuple[SiloAddress, ...], now: datetime, ages: Ages, expiry: float, required: int
) -> Member | None:
    """The suspect's row with the votes of these voters: DEAD when they are enough. None: nothing to write.

    A silo has one vote, however often it votes. Its vote is renewed once half of `expiry` has passed; otherwise a
    silo without a second voter would write a new table version with every missed probe. `now` is the wall clock: people
    read the time of a vote, and it tells a renewed vote from the old one.
    """
    casting = tuple(voter for voter in dict.fromkeys(voters) if voter != member.address)
    if member.status is SiloStatus.DEAD or not casting:
        return None
    fresh = fresh_votes(member, ages, expiry)
    others = tuple(vote for vote in fresh if vote.voter not in casting)
    time = max((now, *(vote.time + RESOLUTION for vote in member.votes if vote.voter in casting)))
    votes = (*others, *(Vote(voter, time) for voter in casting))
    if len(votes) >= required:
        return msgspec.structs.replace(moved(member, SiloStatus.DEAD), votes=votes)
    young = {vote.voter for vote in fresh if ages.of_vote(member.address, vote) < expiry / 2}
    if young.issuperset(casting):
        return None
    return msgspec.structs.replace(member, votes=votes)


def is_overdue(member: Member, ages: Ages, expiry: float, votes: int) -> bool:
    """Whether enough silos have voted and yet the row is not DEAD.

    The last vote needed writes the death in the same change, so such a row is the result of a bug. The reader that
    finds it writes the death.
    """
    return member.status is not SiloStatus.DEAD and len(fresh_votes(member, ages, expiry)) >= votes
