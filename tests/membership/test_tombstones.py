"""R4: who was seen dead is remembered for a day, and is dead in every view that says otherwise."""

from __future__ import annotations

from datetime import timedelta

from grange.membership.model.member import SiloStatus, make_view
from grange.membership.table.tombstones import LIMIT, REMEMBERED, Tombstones
from tests.membership.cluster import START, address, member

ACTIVE, DEAD = SiloStatus.ACTIVE, SiloStatus.DEAD


def test_the_dead_are_dead_in_every_later_view():
    """The others are as they are, and a newer generation of the same silo is not the one that died."""
    graves = Tombstones()
    graves.remember(make_view(1, [member(address(1), DEAD), member(address(2))]), START)
    later = make_view(2, [member(address(1)), member(address(1, generation=2)), member(address(2))])
    assert graves.returned(later.members) == (address(1),)
    assert [each.status for each in graves.corrected(later).members] == [DEAD, ACTIVE, ACTIVE]
    right = make_view(3, [member(address(1), DEAD)])
    assert graves.corrected(right) is right


def test_they_are_remembered_for_a_day_after_they_were_last_seen_dead():
    """As long as the row is there, the memory is."""
    graves = Tombstones()
    dead = make_view(1, [member(address(1), DEAD)])
    graves.remember(dead, START)
    graves.remember(dead, START + REMEMBERED)
    graves.remember(make_view(2, []), START + 2 * REMEMBERED)
    assert address(1) in graves
    graves.remember(make_view(3, []), START + 2 * REMEMBERED + timedelta(seconds=1))
    assert address(1) not in graves
    assert graves.members == ()


def test_there_are_not_more_than_the_limit():
    """Who was not seen for longest is forgotten first."""
    graves = Tombstones()
    graves.remember(make_view(1, [member(address(1), DEAD)]), START)
    graves.remember(make_view(2, [member(address(n), DEAD) for n in range(2, LIMIT + 2)]), START)
    assert len(graves.members) == LIMIT
    assert address(1) not in graves
    assert address(2) in graves
