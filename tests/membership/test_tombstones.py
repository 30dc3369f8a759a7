"""R4: a silo that was seen dead is remembered for a day, and is DEAD in every view that shows it alive."""

from __future__ import annotations

from grange.membership.model.member import SiloStatus, make_view
from grange.membership.table.tombstones import MAX_TOMBSTONES, RETENTION, Tombstones
from tests.membership.cluster import address, member

ACTIVE, DEAD = SiloStatus.ACTIVE, SiloStatus.DEAD


def test_the_dead_are_dead_in_every_later_view():
    """Other silos are unchanged, and a newer generation at the same endpoint is not the dead one."""
    tombstones = Tombstones()
    tombstones.remember(make_view(1, [member(address(1), DEAD), member(address(2))]), 0.0)
    later = make_view(2, [member(address(1)), member(address(1, generation=2)), member(address(2))])
    assert tombstones.returned(later.members) == (address(1),)
    assert [each.status for each in tombstones.corrected(later).members] == [DEAD, ACTIVE, ACTIVE]
    right = make_view(3, [member(address(1), DEAD)])
    assert tombstones.corrected(right) is right


def test_the_dead_are_remembered_for_a_day_after_they_were_last_seen():
    """The memory lasts as long as the row."""
    tombstones = Tombstones()
    dead = make_view(1, [member(address(1), DEAD)])
    tombstones.remember(dead, 0.0)
    tombstones.remember(dead, RETENTION)
    tombstones.remember(make_view(2, []), 2 * RETENTION)
    assert address(1) in tombstones
    tombstones.remember(make_view(3, []), 2 * RETENTION + 1)
    assert address(1) not in tombstones
    assert tombstones.members == ()


def test_the_number_of_tombstones_is_bounded():
    """The silo that was not seen for longest is forgotten first."""
    tombstones = Tombstones()
    tombstones.remember(make_view(1, [member(address(1), DEAD)]), 0.0)
    tombstones.remember(make_view(2, [member(address(n), DEAD) for n in range(2, MAX_TOMBSTONES + 2)]), 0.0)
    assert len(tombstones.members) == MAX_TOMBSTONES
    assert address(1) not in tombstones
    assert address(2) in tombstones
