"""Votes: only fresh votes count, one per silo, and enough of them make a death."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.membership.model.member import SiloStatus, Vote, moved
from grange.membership.model.observations import Ages, Observations
from grange.membership.model.votes import cast_vote, fresh_votes, is_overdue, required_votes, without_expired
from tests.membership.cluster import START, address, member

WINDOW = 60.0
VICTIM = address(99)
JOINING, ACTIVE, LEAVING, DEAD = SiloStatus


def after(seconds: float):
    return START + timedelta(seconds=seconds)


def seen(**ages_by_voter: float) -> Ages:
    """A reader that has seen the vote of each of these silos, cast at START, for so many seconds."""
    return Ages(votes={(VICTIM, Vote(address(int(name[1:])), START)): age for name, age in ages_by_voter.items()})


def votes_aged(row, seconds: float) -> Ages:
    return Ages(votes={(VICTIM, vote): seconds for vote in row.votes})


def victim(*votes: Vote, status: SiloStatus = ACTIVE):
    return msgspec.structs.replace(member(VICTIM, status), votes=votes)


@pytest.mark.parametrize(
    ("votes", "live", "needed"),
    [(2, 0, 1), (2, 1, 1), (2, 2, 1), (2, 3, 2), (2, 100, 2), (1, 100, 1), (3, 3, 2), (3, 4, 2), (3, 5, 3)],
)
def test_how_many_votes_a_death_needs(votes, live, needed):
    """MEM-06: the number in the options, but at most half of the live silos; one in a cluster of two."""
    assert required_votes(votes, live) == needed


def test_one_vote_of_one_is_death():
    """MEM-06"""
    dead = cast_vote(victim(), (address(1),), START, Ages(), WINDOW, required=1)
    assert dead.status is DEAD
    assert [vote.voter for vote in dead.votes] == [address(1)]


def test_three_votes_of_one_silo_are_one_vote():
    """MEM-06: the suspect stays; a second silo's vote makes the death."""
    row = victim()
    for seconds in (0, 40, 80, 120):
        row = cast_vote(row, (address(1),), after(seconds), votes_aged(row, 40), WINDOW, required=2) or row
        assert row.status is ACTIVE
        assert [vote.voter for vote in row.votes] == [address(1)]
    dead = cast_vote(row, (address(2),), after(125), votes_aged(row, 5), WINDOW, required=2)
    assert dead.status is DEAD
    assert {vote.voter for vote in dead.votes} == {address(1), address(2)}


def test_an_expired_vote_does_not_count_and_is_dropped():
    row = victim(Vote(address(1), START))
    voted = cast_vote(row, (address(2),), after(60), seen(s1=60), WINDOW, required=2)
    assert voted.status is ACTIVE
    assert [vote.voter for vote in voted.votes] == [address(2)]


def test_a_young_vote_of_the_same_silo_is_not_written_again():
    """No new table version with each further missed probe; the vote is renewed before it expires."""
    row = victim(Vote(address(1), START))
    assert cast_vote(row, (address(1),), after(29), seen(s1=29), WINDOW, required=2) is None
    renewed = cast_vote(row, (address(1),), after(31), seen(s1=31), WINDOW, required=2)
    assert renewed.votes == (Vote(address(1), after(31)),)


def test_a_vote_that_has_become_enough_kills():
    """The cluster has shrunk: the same vote is enough now."""
    assert (
        cast_vote(victim(Vote(address(1), START)), (address(1),), after(1), Ages(), WINDOW, required=1).status is DEAD
    )


def test_no_silo_votes_on_the_dead_or_on_itself():
    assert cast_vote(victim(status=DEAD), (address(1),), START, Ages(), WINDOW, required=1) is None
    assert cast_vote(victim(), (VICTIM,), START, Ages(), WINDOW, required=1) is None


def test_a_witness_votes_in_the_same_write():
    """MEM-11: both votes in one compare-and-swap; the same silo twice is one vote, and the suspect is no witness."""
    dead = cast_vote(victim(), (address(1), address(2)), START, Ages(), WINDOW, required=2)
    assert dead.status is DEAD
    assert [vote.voter for vote in dead.votes] == [address(1), address(2)]
    for witness in (address(1), VICTIM):
        voted = cast_vote(victim(), (address(1), witness), START, Ages(), WINDOW, required=2)
        assert (voted.status, len(voted.votes)) == (ACTIVE, 1)


def test_a_new_witness_is_written_though_the_voters_own_vote_is_young():
    row = victim(Vote(address(1), START))
    voted = cast_vote(row, (address(1), address(2)), after(1), Ages(), WINDOW, required=3)
    assert [vote.voter for vote in voted.votes] == [address(1), address(2)]
    assert cast_vote(voted, (address(1), address(2)), after(2), Ages(), WINDOW, required=3) is None


def test_a_row_with_enough_votes_that_is_not_dead_is_overdue():
    """It is a broken invariant; a row with fewer or expired votes is not overdue."""
    row = victim(Vote(address(1), START), Vote(address(2), START))
    assert is_overdue(row, Ages(), WINDOW, votes=2)
    assert not is_overdue(row, Ages(), WINDOW, votes=3)
    assert not is_overdue(row, seen(s1=60, s2=60), WINDOW, votes=2)
    assert not is_overdue(moved(row, DEAD), Ages(), WINDOW, votes=2)


@pytest.mark.parametrize("error", [-7200, -300, 300, 7200])
def test_the_voters_clock_neither_adds_nor_takes_a_vote(error):
    """A vote counts for the time for which the reader has seen it; the time written in it does not matter."""
    wrong, right = Vote(address(1), after(error)), Vote(address(2), START)
    row = victim(wrong, right)
    assert fresh_votes(row, Ages(votes={(VICTIM, wrong): 59.0, (VICTIM, right): 59.0}), WINDOW) == row.votes
    assert fresh_votes(row, Ages(votes={(VICTIM, wrong): 60.0, (VICTIM, right): 59.0}), WINDOW) == (right,)
    assert fresh_votes(row, Ages(votes={(VICTIM, wrong): 59.0, (VICTIM, right): 60.0}), WINDOW) == (wrong,)


def test_a_vote_renewed_after_the_clock_was_set_back_is_another_vote():
    """Otherwise the readers would not see that it was renewed, and it would expire."""
    row = victim(Vote(address(1), START))
    renewed = cast_vote(row, (address(1),), after(-3600), seen(s1=31), WINDOW, required=2)
    assert renewed.votes[0].time > START
    assert cast_vote(renewed, (address(1),), after(-3500), votes_aged(renewed, 29), WINDOW, required=2) is None


def test_expired_votes_are_removed_from_the_rows_of_the_living():
    """A silo that starts later would see them for the first time, and count them. The dead keep theirs, as a record."""
    row = victim(Vote(address(1), START), Vote(address(2), START))
    assert without_expired(row, seen(s1=60, s2=59), WINDOW).votes == row.votes[1:]
    assert without_expired(row, seen(s1=59, s2=59), WINDOW) is None
    assert without_expired(moved(row, DEAD), seen(s1=60, s2=60), WINDOW) is None


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 200)), min_size=1, max_size=30),
    st.integers(1, 4),
)
def test_death_takes_as_many_different_fresh_voters_as_needed(casts, required):
    """In any order: never with fewer votes, and at once with enough."""
    row, reader = victim(), Observations()
    latest: dict[int, int] = {}
    for number, seconds in sorted(casts, key=lambda cast: cast[1]):
        wrong = 1000 * number  # each silo's clock is wrong in its own way
        written = cast_vote(row, (address(number),), after(seconds - wrong), reader.ages(seconds), WINDOW, required)
        if written is not None or number not in latest:
            latest[number] = seconds
        row = written or row
        reader.on_members([row], seconds)
        fresh = [time for time in latest.values() if seconds - time < 60]
        assert (row.status is DEAD) == (len(fresh) >= required)
        if row.status is DEAD:
            return


@pytest.mark.parametrize("status", list(SiloStatus))
def test_a_status_never_goes_back(status):
    """DEAD is final; the same status and every later one are allowed, also by skipping."""
    for wanted in SiloStatus:
        if wanted.rank < status.rank:
            with pytest.raises(ValueError, match="cannot become"):
                moved(member(VICTIM, status), wanted)
        else:
            assert moved(member(VICTIM, status), wanted).status is wanted
