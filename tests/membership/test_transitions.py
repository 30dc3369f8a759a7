"""The changes of rows, one at a time, and the order of table versions."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from grange.errors import DeclaredDead, JoinFailed
from grange.membership.model.member import SiloStatus, Vote
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import FRESH, Row, Table, table_version
from grange.membership.table.transitions import (
    VersionOrder,
    activate,
    compare_versions,
    death_error,
    drop_votes,
    enter,
    finish_death,
    leave,
    mark_dead,
    must_end,
    suspect,
    unreached,
    view_of,
)
from tests.membership.cluster import START, address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
ME = address(1)
OPTIONS = MembershipOptions()
SEEN_NOW = Ages()
STALE = Ages(alive={address(number): OPTIONS.stale_after + 1 for number in range(9)})


def table(*members, number: int = 5) -> Table:
    return Table(table_version("x", number), tuple(Row(each, f"etag-{place}") for place, each in enumerate(members)))


def test_enter_kills_each_older_generation_before_it_inserts():
    """MEM-02: one change for each, over the row as it was read."""
    older = [member(address(1, generation), status) for generation, status in ((1, ACTIVE), (2, DEAD), (3, LEAVING))]
    me = member(address(1, 9), ACTIVE)
    change = enter(table(*older), me)
    assert (change.member.address, change.member.status, change.row_etag) == (address(1, 1), DEAD, "etag-0")
    dead = [msgspec.structs.replace(each, status=DEAD) for each in older]
    change = enter(table(dead[0], dead[1], older[2]), me)
    assert (change.member.address, change.row_etag) == (address(1, 3), "etag-2")
    change = enter(table(*dead), me)
    assert (change.member, change.row_etag) == (msgspec.structs.replace(me, status=JOINING), None)
    assert enter(table(*dead, change.member), me) is None


def test_enter_touches_no_other_endpoint():
    others = [member(address(number, generation=99)) for number in (2, 3)]
    assert enter(table(*others), member(ME)).member.address == ME


@pytest.mark.parametrize("status", list(SiloStatus))
def test_enter_refuses_when_a_newer_generation_has_the_endpoint(status):
    """MEM-03: with every status of the newer generation."""
    with pytest.raises(JoinFailed, match="started later at the same endpoint"):
        enter(table(member(address(1, 2), status)), member(ME))


def test_enter_refuses_a_row_that_is_dead():
    """MEM-03"""
    with pytest.raises(JoinFailed, match="declared dead"):
        enter(table(member(ME, DEAD)), member(ME))


def test_activate_waits_for_all_active_silos_and_for_no_other():
    """MEM-14: also for a silo that became active after the probes."""
    rows = [member(ME, JOINING), *(member(address(number), status) for number, status in enumerate(SiloStatus, 10))]
    found = table(*rows)
    assert unreached(found, ME, ()) == (address(11),)
    assert activate(found, ME, ()) is None
    assert activate(found, ME, {address(11)}).member.status is ACTIVE
    assert activate(table(member(ME, ACTIVE)), ME, ()) is None


@pytest.mark.parametrize("step", [lambda found: activate(found, ME, ()), lambda found: leave(found, ME)])
@pytest.mark.parametrize("rows", [(), (member(ME, DEAD),), (member(ME), member(address(1, 2), JOINING))])
def test_a_silo_that_was_declared_dead_changes_nothing(step, rows):
    """MEM-03: the row is dead or gone, or a newer generation has the endpoint."""
    with pytest.raises(DeclaredDead, match="start it again"):
        step(table(*rows))


def test_of_two_processes_that_chose_one_address_one_joins():
    """Both read the table before either wrote; the loser neither takes over the row nor writes its death."""
    first, second = (msgspec.structs.replace(member(ME, JOINING), run=run) for run in ("a", "b"))
    found = table(first)
    assert enter(found, first) is None
    with pytest.raises(JoinFailed, match="another process started at the same time"):
        enter(found, second)
    assert mark_dead(found, ME, "b") is None
    assert mark_dead(found, ME, "a").member.status is DEAD


def test_expired_votes_leave_the_rows_of_living_silos():
    """One row at a time; the dead keep theirs, and a dead silo changes nothing."""
    votes = (Vote(address(3), START), Vote(address(4), START))
    suspected = msgspec.structs.replace(member(address(2)), votes=votes)
    expired = Ages(votes={(address(2), votes[0]): OPTIONS.vote_expiry})
    change = drop_votes(table(member(ME), suspected), ME, expired, OPTIONS)
    assert (change.member.votes, change.member.status, change.row_etag) == (votes[1:], ACTIVE, "etag-1")
    assert drop_votes(table(member(ME), suspected), ME, SEEN_NOW, OPTIONS) is None
    with pytest.raises(DeclaredDead):
        drop_votes(table(member(ME, DEAD), suspected), ME, expired, OPTIONS)


def test_leave_and_bury_are_done_once():
    assert leave(table(member(ME, ACTIVE)), ME).member.status is LEAVING
    assert leave(table(member(ME, LEAVING)), ME) is None
    assert mark_dead(table(member(ME, LEAVING)), ME).member.status is DEAD
    assert mark_dead(table(member(ME, DEAD)), ME) is None
    assert mark_dead(table(), ME) is None


def vote(number: int = 1, live: int = 3, ages: Ages = SEEN_NOW, alive=START):
    """A vote of `number` on silo 2 in a cluster of `live` active silos."""
    rows = [member(address(each), alive=alive) for each in range(1, live + 1)]
    return suspect(table(*rows), address(2), (address(number),), START, ages, OPTIONS)


def test_two_votes_kill_and_one_where_two_live():
    """MEM-06"""
    assert vote(live=2).member.status is DEAD
    assert vote(live=3).member.status is ACTIVE
    assert vote(live=3).row_etag == "etag-1"


def test_stale_silos_do_not_count_as_live():
    """The voter has seen their `alive` times unchanged for too long; their own times do not matter."""
    assert vote(ages=STALE).member.status is DEAD
    for hours in (-2, 2):
        assert vote(alive=START + timedelta(hours=hours)).member.status is ACTIVE
        assert vote(ages=STALE, alive=START + timedelta(hours=hours)).member.status is DEAD


def test_the_dead_do_not_vote():
    """F10: the loser of the race finds its own row dead."""
    rows = (member(ME, DEAD), member(address(2)))
    with pytest.raises(DeclaredDead):
        suspect(table(*rows), address(2), (ME,), START, SEEN_NOW, OPTIONS)


@pytest.mark.parametrize(("status", "dies"), [(ACTIVE, True), (JOINING, False), (LEAVING, False), (DEAD, False)])
def test_a_witness_counts_while_it_is_active(status, dies):
    """MEM-11: three silos need two votes; the witness' row is read with the suspect's."""
    rows = (member(ME), member(address(2)), member(address(4)), member(address(3), status))
    change = suspect(table(*rows), address(2), (ME, address(3)), START, SEEN_NOW, OPTIONS)
    assert (change.member.status is DEAD) == dies
    assert change.row_etag == "etag-1"


def test_a_death_that_was_voted_but_not_written_is_finished():
    """By any other living reader; a row with fewer votes stays as it is."""
    votes = (Vote(address(3), START), Vote(address(4), START))
    overdue = msgspec.structs.replace(member(address(2)), votes=votes)
    found = table(member(ME), overdue)
    change = finish_death(found, ME, SEEN_NOW, OPTIONS)
    assert (change.member.address, change.member.status, change.row_etag) == (address(2), DEAD, "etag-1")
    assert finish_death(found, address(2), SEEN_NOW, OPTIONS) is None
    suspected = msgspec.structs.replace(overdue, votes=votes[:1])
    assert finish_death(table(member(ME), suspected), ME, SEEN_NOW, OPTIONS) is None
    with pytest.raises(DeclaredDead):
        finish_death(table(member(ME, DEAD), overdue), ME, SEEN_NOW, OPTIONS)


def test_no_silo_votes_on_a_row_that_is_gone():
    assert suspect(table(member(ME)), address(2), (ME,), START, SEEN_NOW, OPTIONS) is None


def test_a_joining_silo_votes_only_on_the_stale_and_the_suspected():
    """The joining silo is more likely to be cut off itself."""
    joining, other = member(ME, JOINING), member(address(2))
    assert suspect(table(joining, other), address(2), (ME,), START, SEEN_NOW, OPTIONS) is None
    assert suspect(table(joining, other), address(2), (ME,), START, STALE, OPTIONS).member.status is DEAD
    suspected = msgspec.structs.replace(other, votes=(Vote(address(3), START),))
    assert suspect(table(joining, suspected), address(2), (ME,), START, SEEN_NOW, OPTIONS).member.status is DEAD
    expired = Ages(votes={(address(2), suspected.votes[0]): OPTIONS.vote_expiry})
    assert suspect(table(joining, suspected), address(2), (ME,), START, expired, OPTIONS) is None


@pytest.mark.parametrize(
    ("known", "read", "expected"),
    [
        (None, FRESH, VersionOrder.NEWER),
        (None, table_version("x", 7), VersionOrder.NEWER),
        (FRESH, FRESH, VersionOrder.SAME),
        (FRESH, table_version("x", 1), VersionOrder.NEWER),
        (table_version("x", 7), table_version("x", 8), VersionOrder.NEWER),
        (table_version("x", 7), table_version("x", 7), VersionOrder.SAME),
        (table_version("x", 7), table_version("x", 6), VersionOrder.LOST),
        (table_version("x", 7), table_version("y", 8), VersionOrder.LOST),
        (table_version("x", 7), FRESH, VersionOrder.LOST),
    ],
)
def test_a_lost_table_is_distinguished_from_a_new_one(known, read, expected):
    """R3: another incarnation, none, or a lower number."""
    assert compare_versions(known, read) is expected


def test_which_silos_must_end_and_why():
    """MEM-04: dead by votes, dead by itself or its successor, gone, replaced by a newer generation."""
    by_votes = msgspec.structs.replace(member(ME, DEAD), votes=(Vote(address(2), START),))
    cases = [
        ([by_votes], "by the votes of silo:11002@1"),
        ([member(ME, DEAD)], "a newer process was at its endpoint"),
        ([], "gone from the membership table"),
        ([member(ME), member(address(1, 2), JOINING)], "a newer generation"),
    ]
    for rows, reason in cases:
        view = view_of(table(*rows))
        assert must_end(view, ME)
        assert reason in str(death_error(view, ME))
    assert not must_end(view_of(table(member(ME, LEAVING))), ME)
