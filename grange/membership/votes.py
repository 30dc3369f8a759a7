"""When suspicion becomes death. Pure: a row goes in, the row to write comes out.

Votes are kept in the suspect's own row and written by compare-and-swap, so the silos agree on who is dead
even when they disagree on who answers. Follows Orleans' protocol.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from grange.membership.member import Member, SiloStatus, Vote, moved
from grange.proto.ids import SiloAddress


def fresh_votes(member: Member, now: datetime, window: timedelta) -> tuple[Vote, ...]:
    """The votes that still count. The window ends at the newest vote if that is later: a skewed clock hides nothing."""
    latest = max((now, *(vote.time for vote in member.votes)))
    return tuple(vote for vote in member.votes if latest - vote.time < window)


def required_votes(votes: int, live: int) -> int:
    """How many fresh votes make a death when `live` silos are active and not stale: `votes`, but at most half
    of them.
    """
    return max(1, min(votes, (live + 1) // 2))


def cast_vote(member: Member, voter: SiloAddress, now: datetime, window: timedelta, required: int) -> Member | None:
    """The suspect's row with this voter's vote: DEAD when there are enough. None: nothing to write.

    A silo has one vote however often it votes; it is renewed once half of its time has passed, so that a silo
    that cannot find a second voter does not write a new table version with every missed probe.
    """
    if member.status is SiloStatus.DEAD or member.address == voter:
        return None
    fresh = fresh_votes(member, now, window)
    others = tuple(vote for vote in fresh if vote.voter != voter)
    votes = (*others, Vote(voter, now))
    if len(votes) >= required:
        return msgspec.structs.replace(moved(member, SiloStatus.DEAD), votes=votes)
    if any(vote.voter == voter and now - vote.time < window / 2 for vote in fresh):
        return None
    return msgspec.structs.replace(member, votes=votes)
