"""Decides when votes declare a silo dead. Pure: takes a row, returns the row to write.

Votes are stored in the suspect's own row and are written by compare-and-swap. Silos therefore agree on which silos are
dead, even when they disagree on which silos answer. Follows Orleans' protocol.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from grange.membership.model.member import Member, SiloStatus, Vote, moved
from grange.proto.ids import SiloAddress


def fresh_votes(member: Member, now: datetime, window: timedelta) -> tuple[Vote, ...]:
    """The votes that still count. The window ends at the newest vote if that is later than `now` (clock skew)."""
    latest = max((now, *(vote.time for vote in member.votes)))
    return tuple(vote for vote in member.votes if latest - vote.time < window)


def required_votes(votes: int, live: int) -> int:
    """The number of fresh votes that declare a silo dead: `votes`, but at most half of the `live` silos, rounded up.

    `live` silos are active and not stale.
    """
    return max(1, min(votes, (live + 1) // 2))


def cast_vote(
    member: Member, voters: tuple[SiloAddress, ...], now: datetime, window: timedelta, required: int
) -> Member | None:
    """The suspect's row with the votes of these voters: DEAD when they are enough. None: nothing to write.

    A silo has one vote, however often it votes. Its vote is renewed once half of the window has passed; otherwise a
    silo without a second voter would write a new table version with every missed probe.
    """
    casting = tuple(voter for voter in dict.fromkeys(voters) if voter != member.address)
    if member.status is SiloStatus.DEAD or not casting:
        return None
    fresh = fresh_votes(member, now, window)
    others = tuple(vote for vote in fresh if vote.voter not in casting)
    votes = (*others, *(Vote(voter, now) for voter in casting))
    if len(votes) >= required:
        return msgspec.structs.replace(moved(member, SiloStatus.DEAD), votes=votes)
    young = {vote.voter for vote in fresh if now - vote.time < window / 2}
    if young.issuperset(casting):
        return None
    return msgspec.structs.replace(member, votes=votes)


def is_overdue(member: Member, now: datetime, window: timedelta, votes: int) -> bool:
    """Whether enough silos have voted and yet the row is not DEAD.

    The last vote needed writes the death in the same change, so such a row is the result of a bug. The reader that
    finds it writes the death.
    """
    return member.status is not SiloStatus.DEAD and len(fresh_votes(member, now, window)) >= votes
