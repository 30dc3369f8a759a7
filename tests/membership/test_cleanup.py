"""Which rows are removed from the table, and by which silo."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.errors import DeclaredDead
from grange.membership.model.member import SiloStatus, Vote
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Row, Table, table_version
from grange.membership.table.cleanup import cutoff, evict, is_cleaner
from tests.membership.cluster import START, address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
ME = address(1)
OPTIONS = MembershipOptions(dead_kept=3, dead_kept_for=1000)
LIMIT = OPTIONS.join_timeout + OPTIONS.stale_after


def table(*members) -> Table:
    return Table(table_version("x", 5), tuple(Row(each, f"etag-{place}") for place, each in enumerate(members)))


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def corpse(number: int, age: float, status: SiloStatus = DEAD, voted: float | None = None):
    """A dead silo, last seen this long before START; with a vote this long before START, if given."""
    votes = () if voted is None else (Vote(ME, START - seconds(voted)),)
    made = member(address(number), status, alive=START - seconds(age))
    return msgspec.structs.replace(made, started=START - seconds(age + 5), votes=votes)


def seen_from_their_times(found: Table) -> Ages:
    """Ages as of START, for a reader that has seen every row since its times."""
    members = [row.member for row in found.rows]
    return Ages(
        statuses={each.address: (START - each.alive).total_seconds() for each in members},
        votes={(each.address, vote): (START - vote.time).total_seconds() for each in members for vote in each.votes},
    )


def removed(found: Table, ages: Ages | None = None) -> set[int]:
    """The rows that a cleanup with this cut-off removes, as every provider does it."""
    before = cutoff(found, ages or seen_from_their_times(found), OPTIONS)
    if before is None:
        return set()
    gone = [row.member for row in found.rows if row.member.status is not ACTIVE]
    return {each.address.port - 11000 for each in gone if max(each.alive, each.started) < before}


def test_only_the_active_silo_with_the_lowest_address_cleans_up():
    """MEM-16: silos of lower address that are not active do not count."""
    found = table(member(address(0), JOINING), member(ME), member(address(2)), member(address(3), DEAD))
    assert [is_cleaner(found, address(number)) for number in range(4)] == [False, True, False, False]
    assert not is_cleaner(table(), ME)


def test_of_too_many_rows_the_oldest_go_first():
    """MEM-16"""
    found = table(member(ME), *(corpse(10 + number, age=100 * number) for number in range(1, 6)))
    assert removed(found) == {14, 15}
    assert removed(table(*found.rows[1:4] and [row.member for row in found.rows[:4]])) == set()


def test_rows_that_are_too_old_go():
    """MEM-16"""
    assert removed(table(member(ME), corpse(10, age=1001), corpse(11, age=999))) == {10}


def test_rows_suspected_lately_stay():
    """MEM-16: all rows younger than one that stays, stay too."""
    corpses = [corpse(10 + number, age=100 * number) for number in range(1, 6)]
    corpses[4] = corpse(15, age=500, voted=30)
    assert removed(table(member(ME), *corpses)) == set()
    corpses[4] = corpse(15, age=500, voted=61)
    corpses[3] = corpse(14, age=400, voted=30)
    assert removed(table(member(ME), *corpses)) == {15}


@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.sampled_from(list(SiloStatus)), st.one_of(st.none(), st.integers(0, 120))),
        max_size=12,
    )
)
def test_of_any_rows_only_long_dead_ones_are_removed(rows):
    """Never an active, joining or leaving silo, never a row with a fresh vote, never a younger row before an older."""
    found = table(*(corpse(number, age, status, voted) for number, (age, status, voted) in enumerate(rows)))
    gone = removed(found)
    kept = [number for number, (_, status, _) in enumerate(rows) if status is DEAD and number not in gone]
    for number in gone:
        age, status, voted = rows[number]
        assert status is DEAD
        assert voted is None or voted >= 60
        assert age > 1000 or len(kept) >= OPTIONS.dead_kept
        assert all(rows[other][0] <= age for other in kept)


def test_the_age_of_a_row_is_the_time_for_which_this_silo_has_seen_it():
    """MEM-16: a clock that was days ahead, here or there, removes no row, and keeps none."""
    found = table(member(ME), corpse(10, age=1e6), corpse(11, age=-1e6))
    assert removed(found, Ages()) == set()
    assert removed(found, Ages(statuses={address(10): 1001.0})) == {10}
    assert removed(found, Ages(statuses={address(10): 1001.0, address(11): 1001.0})) == {10, 11}


def test_the_row_of_the_highest_generation_stays():
    """The next silo must have a higher one; when a living silo has it, or an equal one, no dead row has to stay."""
    ahead = msgspec.structs.replace(corpse(12, age=3000), address=address(12, generation=9))
    rows = [corpse(10, age=5000), ahead, corpse(11, age=4000)]
    assert removed(table(member(ME), *rows)) == {10, 11}
    assert removed(table(member(address(1, generation=9)), *rows)) == {10, 11, 12}


def joiner(number: int):
    return member(address(number), JOINING)


def joining_for(**seconds_by_silo: float) -> Ages:
    return Ages(statuses={address(int(name[1:])): age for name, age in seconds_by_silo.items()})


def test_a_silo_that_joins_for_longer_than_the_time_out_is_evicted():
    """MEM-10: by the silo that cleans up, and never with the option off."""
    stuck, ages = joiner(5), joining_for(s4=LIMIT, s5=LIMIT + 1)
    found = table(member(ME), member(address(2)), joiner(4), stuck)
    change = evict(found, ME, ages, OPTIONS)
    assert (change.member.address, change.member.status, change.row_etag) == (stuck.address, DEAD, "etag-3")
    assert evict(found, address(2), ages, OPTIONS) is None
    assert evict(table(member(ME), joiner(4)), ME, ages, OPTIONS) is None
    assert evict(found, ME, ages, MembershipOptions(evict_stuck_joiners=False)) is None


def test_a_joining_silo_whose_clock_is_hours_behind_is_not_evicted():
    """MEM-10: only the time for which this silo has seen it joining counts."""
    behind = msgspec.structs.replace(joiner(5), started=START - seconds(7200), alive=START - seconds(7200))
    assert evict(table(member(ME), behind), ME, Ages(), OPTIONS) is None


@pytest.mark.parametrize("status", [ACTIVE, LEAVING, DEAD])
def test_no_other_status_is_evicted_at_any_age(status):
    old = msgspec.structs.replace(joiner(5), status=status)
    assert evict(table(member(ME), old), ME, joining_for(s5=10 * LIMIT), OPTIONS) is None


def test_a_dead_silo_evicts_no_other():
    with pytest.raises(DeclaredDead):
        evict(table(member(ME, DEAD), joiner(5)), ME, joining_for(s5=10 * LIMIT), OPTIONS)
