"""Every kind of loss of the table, and the rows of the rebuilt table."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from grange.membership.model.member import SiloStatus, View, make_view
from grange.membership.model.provider import FRESH, Row, Table, table_version
from grange.membership.table.recovery import (
    Loss,
    Memory,
    forgotten,
    judge,
    lower,
    merged,
    missing,
    next_number,
    reassert,
    rejoin,
)
from grange.membership.table.tombstones import Tombstones
from grange.membership.table.transitions import VersionOrder
from tests.membership.cluster import START, address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
ME, OTHER, THIRD = address(1), address(2), address(3)


def a_view(number: int, *members) -> View:
    return make_view(number, members)


def memory(number: int = 10, *members, me=ME) -> Memory:
    members = members or (member(ME), member(OTHER))
    return Memory(table_version("one", number), a_view(number, *members), me)


def a_table(incarnation: str, number: int, *members) -> Table:
    version = table_version(incarnation, number) if incarnation else FRESH
    return Table(version, tuple(Row(each, "1") for each in members))


def tombstones(*silos) -> Tombstones:
    found = Tombstones()
    found.remember(a_view(1, *(member(silo, DEAD) for silo in silos)), 0.0)
    return found


@pytest.mark.parametrize(
    ("incarnation", "number", "members", "expected"),
    [
        ("one", 11, (ME, OTHER), VersionOrder.NEWER),
        ("one", 10, (ME, OTHER), VersionOrder.SAME),
        ("one", 9, (ME, OTHER), VersionOrder.LOST),
        ("one", 11, (ME,), VersionOrder.LOST),
        ("one", 11, (OTHER,), VersionOrder.LOST),
        ("", 0, (), VersionOrder.LOST),
        ("two", 2, (THIRD,), VersionOrder.LOST),
        ("two", 10, (ME, OTHER), VersionOrder.LOST),
        ("two", 11, (ME, OTHER), VersionOrder.NEWER),
        ("two", 11, (ME, THIRD), VersionOrder.LOST),
        ("two", 11, (ME, OTHER, THIRD), VersionOrder.NEWER),
    ],
)
def test_a_table_is_believed_if_it_is_ahead_and_no_silo_is_missing(incarnation, number, members, expected):
    """R3: also a table of another incarnation, once it holds all silos."""
    version = table_version(incarnation, number) if incarnation else FRESH
    assert judge(memory(), version, a_view(number, *map(member, members))) is expected


def test_a_silo_without_memory_believes_every_table():
    """The first read, and a table that was fresh when it was read."""
    found = a_view(5, member(OTHER))
    assert judge(Memory(), table_version("any", 5), found) is VersionOrder.NEWER
    assert judge(Memory(FRESH, View(0), ME), table_version("any", 5), found) is VersionOrder.NEWER


def test_only_silos_that_can_never_vanish_are_missing():
    """Dead rows are removed, a join may be cancelled, a newer generation replaces an older one. The own row counts."""
    known = memory(
        10, member(ME, JOINING), member(OTHER, DEAD), member(THIRD, JOINING), member(address(4)), member(address(5))
    )
    found = a_view(11, member(address(4, generation=2)))
    assert missing(known, found) == (ME, address(5))


def test_the_rebuilt_table_holds_all_silos_with_their_highest_statuses():
    """Rows found and remembered, each with its highest status; the dead stay dead; times stay as they were."""
    found = a_table("two", 3, member(THIRD, JOINING), member(OTHER, ACTIVE), member(address(6)))
    known = memory(10, member(ME), member(OTHER, LEAVING), member(address(4), DEAD))
    rows = {each.address: each for each in merged(found, known, tombstones(address(5), address(6)))}
    assert {silo: row.status for silo, row in rows.items()} == {
        ME: ACTIVE,
        OTHER: LEAVING,
        THIRD: JOINING,
        address(4): DEAD,
        address(5): DEAD,
        address(6): DEAD,
    }
    assert {row.alive for row in rows.values()} == {START}
    assert list(rows) == sorted(rows)


def test_a_cordon_survives_a_table_that_went_back_in_time():
    """The table found is older than the cordon of one silo, and than the end of that of another."""
    cordoned = partial(msgspec.structs.replace, cordoned=True)
    found = a_table("one", 3, member(ME), cordoned(member(OTHER)), cordoned(member(THIRD)))
    rows = merged(found, memory(10, cordoned(member(ME)), member(OTHER)), Tombstones())
    assert {row.address: row.cordoned for row in rows} == {ME: True, OTHER: False, THIRD: True}


def test_of_two_generations_at_one_endpoint_the_newest_lives():
    """A silo was restarted while the table was lost."""
    found = a_table("two", 2, member(address(2, generation=2)))
    rows = {each.address: each.status for each in merged(found, memory(), Tombstones())}
    assert rows == {ME: ACTIVE, OTHER: DEAD, address(2, generation=2): ACTIVE}


def test_the_version_of_a_rebuilt_table_is_above_all():
    """Above that of this silo, of the table found, and of the hints of other silos."""
    assert next_number(memory(10), a_table("two", 3), 4) == 11
    assert next_number(memory(10), a_table("two", 13), 4) == 14
    assert next_number(memory(10), a_table("", 0), 20) == 21


def test_the_order_in_which_silos_may_rebuild():
    """Active silos by address; joining and leaving silos come after them; dead silos never."""
    members = (member(ME, JOINING), member(OTHER), member(THIRD), member(address(0), DEAD))
    assert lower(memory(10, *members, me=OTHER)) == ()
    assert lower(memory(10, *members, me=THIRD)) == (OTHER,)
    assert lower(memory(10, *members, me=ME)) == (OTHER, THIRD)


def test_a_silo_that_alone_is_missing_inserts_its_row_again():
    """Not in an empty table, not in one that is behind, and not while other silos are missing too."""
    own = member(ME)
    change = rejoin(a_table("two", 10, member(OTHER)), memory(), own)
    assert (change.member, change.row_etag) == (own, None)
    assert rejoin(a_table("", 0), memory(), own) is None
    assert rejoin(a_table("two", 9, member(OTHER)), memory(), own) is None
    assert rejoin(a_table("two", 10, member(THIRD)), memory(), own) is None
    assert rejoin(a_table("two", 10, member(ME), member(OTHER)), memory(), own) is None


def test_forgotten_changes_are_written_again():
    """R4: a death, and the status of this silo; one change at a time, until none is left."""
    dead = tombstones(OTHER)
    own = member(ME, LEAVING)
    found = a_table("one", 12, member(OTHER), member(ME))
    assert forgotten((row.member for row in found.rows), dead, own)
    first = reassert(found, dead, own)
    assert (first.member.address, first.member.status, first.row_etag) == (OTHER, DEAD, "1")
    second = reassert(a_table("one", 13, member(OTHER, DEAD), member(ME)), dead, own)
    assert (second.member.address, second.member.status) == (ME, LEAVING)
    done = a_table("one", 14, member(OTHER, DEAD), member(ME, LEAVING))
    assert reassert(done, dead, own) is None
    assert not forgotten((row.member for row in done.rows), dead, own)


def test_a_rollback_is_distinguished_from_a_loss():
    """The same incarnation means that the database is there."""
    assert Loss(a_table("one", 3), 0.0).rolled_back(table_version("one", 10))
    assert not Loss(a_table("", 0), 0.0).rolled_back(table_version("one", 10))
    assert not Loss(a_table("two", 3), 0.0).rolled_back(table_version("one", 10))
