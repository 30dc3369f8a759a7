"""The generation of a silo that starts: from the clock, but above every one that is known."""

from __future__ import annotations

import pytest

from grange.errors import MembershipError
from grange.membership.model.member import SiloStatus
from grange.membership.model.provider import FRESH, Row, Table, table_version
from grange.membership.table.generations import MAX_GENERATION, next_generation
from tests.membership.cluster import address, member

NOW = 1_795_886_966_554
HOUR = 3_600_000


def table(*generations: int, status: SiloStatus = SiloStatus.DEAD) -> Table:
    rows = (member(address(number, generation), status) for number, generation in enumerate(generations))
    return Table(table_version("x", 5), tuple(Row(each, "1") for each in rows))


def test_an_empty_table_leaves_it_to_the_clock():
    assert next_generation(Table(FRESH), NOW, 0) == NOW
    assert next_generation(Table(FRESH), 0, 0) == 1


@pytest.mark.parametrize("status", list(SiloStatus))
def test_a_clock_that_was_set_back_is_overtaken_by_the_table(status):
    """With a row of any status: the earlier start may have ended in order, or not at all. Also the same millisecond."""
    assert next_generation(table(NOW - HOUR, NOW, status=status), NOW - HOUR, 0) == NOW + 1
    assert next_generation(table(NOW, status=status), NOW, 0) == NOW + 1
    assert next_generation(table(NOW - 1, status=status), NOW, 0) == NOW


def test_it_is_above_the_rows_of_other_endpoints_too():
    """The row of its own past may have been removed; the row of the highest generation stays."""
    assert next_generation(table(NOW + HOUR, 7), NOW, 0) == NOW + HOUR + 1


def test_it_is_above_the_deaths_that_a_storage_has_recorded():
    """The storage refuses the writes of every generation up to that one."""
    assert next_generation(table(NOW), NOW, NOW + HOUR) == NOW + HOUR + 1


def test_starts_one_after_the_other_rise_with_any_clock():
    """Hours ahead once, then back, then a clock that starts in 1970."""
    found: list[int] = []
    for clock in (NOW, NOW + 5 * HOUR, NOW, NOW - 5 * HOUR, 0, 0, NOW + 1):
        found.append(next_generation(table(*found), clock, 0))
    assert found == sorted(set(found))


def test_no_generation_is_above_the_highest():
    """Redis' numbers are exact up to 2^53. A wrong row stops the start with the reason."""
    assert next_generation(table(MAX_GENERATION - 1), NOW, 0) == MAX_GENERATION
    with pytest.raises(MembershipError, match="far beyond any clock"):
        next_generation(table(MAX_GENERATION), NOW, 0)
    with pytest.raises(MembershipError, match="set this machine's clock"):
        next_generation(table(), NOW, MAX_GENERATION)
