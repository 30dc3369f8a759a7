"""Which silo the operator's word names."""

from __future__ import annotations

import msgspec

from grange.cli.drain import member_named
from grange.membership.model.member import SiloStatus, make_view
from tests.membership.cluster import START, address, member


def test_of_several_dead_generations_the_highest_is_named() -> None:
    """The one that started last, although its clock was behind: the times in rows come from different clocks."""
    dead = [member(address(1, generation), SiloStatus.DEAD) for generation in (1, 3, 2)]
    rows = [
        msgspec.structs.replace(row, name="a", started=START.replace(year=2026 - row.address.generation))
        for row in dead
    ]
    assert member_named(make_view(1, rows), "a").address.generation == 3
