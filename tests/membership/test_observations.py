"""What one silo has seen change, and when, by its own clock."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from grange.membership.model.member import Member, SiloStatus, Vote
from grange.membership.model.observations import Observations
from tests.membership.cluster import START, address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
ONE, TWO = address(1), address(2)


def alive(hours: float, silo=ONE) -> Member:
    return msgspec.structs.replace(member(silo), alive=START + timedelta(hours=hours))


@pytest.mark.parametrize("other", [-2, -0.001, 0.001, 2])
def test_an_alive_time_is_as_old_as_its_last_change(other):
    """A change in any direction counts, by any amount."""
    seen = Observations()
    seen.on_read([alive(0)], 100)
    seen.on_read([alive(0)], 130)
    assert seen.ages(140).alive == {ONE: 40}
    seen.on_read([alive(other)], 150)
    assert seen.ages(155).alive == {ONE: 5}


def test_a_row_that_left_and_came_back_is_seen_for_the_first_time():
    seen = Observations()
    seen.on_read([alive(0), alive(0, TWO)], 100)
    seen.on_read([alive(0, TWO)], 110)
    seen.on_read([alive(0), alive(0, TWO)], 120)
    assert seen.ages(130).alive == {ONE: 10, TWO: 30}


def test_alive_times_count_anew_after_an_outage_and_nothing_else_does():
    """A silo joins, is suspected or is dead for as long as before."""
    seen, vote = Observations(), Vote(TWO, START)
    row = msgspec.structs.replace(member(ONE, JOINING), votes=(vote,))
    seen.on_members([row], 100)
    seen.on_read([row], 100)
    seen.restart_alive()
    ages = seen.ages(130)
    assert (ages.alive, ages.of_status(ONE), ages.of_vote(ONE, vote)) == ({}, 30, 30)


def test_a_status_counts_from_its_own_change():
    seen = Observations()
    seen.on_members([member(ONE, JOINING), member(TWO, DEAD)], 100)
    seen.on_members([member(ONE, ACTIVE), member(TWO, DEAD)], 110)
    ages = seen.ages(120)
    assert (ages.of_status(ONE), ages.of_status(TWO), ages.of_status(address(3))) == (10, 20, 0)


def test_a_renewed_vote_is_a_new_one_and_a_vote_on_another_silo_too():
    """A vote that left the row and came back also counts anew."""
    first, renewed = Vote(TWO, START), Vote(TWO, START + timedelta(microseconds=1))
    seen = Observations()

    def row(*votes: Vote, silo=ONE) -> Member:
        return msgspec.structs.replace(member(silo), votes=votes)

    seen.on_members([row(first)], 100)
    seen.on_members([row(first), row(first, silo=address(3))], 110)
    ages = seen.ages(120)
    assert (ages.of_vote(ONE, first), ages.of_vote(address(3), first), ages.of_vote(ONE, renewed)) == (20, 10, 0)
    seen.on_members([row(renewed)], 130)
    seen.on_members([row(first)], 140)
    assert seen.ages(150).of_vote(ONE, first) == 10
