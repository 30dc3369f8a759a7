"""What follows from a view."""

from __future__ import annotations

import pytest

from grange.directory.topology import Topology
from grange.membership.member import Member, SiloStatus, make_view
from grange.proto.ids import SiloAddress
from tests.directory.cluster import THEN

J, A, L, D = SiloStatus.JOINING, SiloStatus.ACTIVE, SiloStatus.LEAVING, SiloStatus.DEAD


def silo(port: int, generation: int = 1) -> SiloAddress:
    return SiloAddress("silo", port, generation)


def topology(
    version: int, statuses: dict[int, SiloStatus], grains: dict[int, dict[str, str]] | None = None
) -> Topology:
    hosted = grains or {}
    members = [Member(silo(port), status, THEN, THEN, grains=hosted.get(port, {})) for port, status in statuses.items()]
    return Topology(make_view(version, members))


def test_only_active_silos_own_ranges_and_leaving_ones_still_live() -> None:
    facts = topology(1, {1: J, 2: A, 3: L, 4: D})
    assert facts.ring.addresses == {silo(2)}
    assert facts.live == {silo(2), silo(3)}
    assert not facts.ranges(silo(3))
    assert facts.ranges(silo(2))


def test_a_newer_run_at_the_same_endpoint_proves_the_older_dead() -> None:
    members = [Member(silo(1, generation), A, THEN, THEN) for generation in (1, 2)]
    facts = Topology(make_view(1, members))
    assert facts.is_dead(silo(1, 1))
    assert not facts.is_dead(silo(1, 2))
    assert not facts.is_dead(silo(1, 3))
    assert not facts.is_dead(silo(9))
    assert facts.live == {silo(1, 2)}


def test_who_hosts_a_type_and_how_it_is_placed() -> None:
    types = {1: {"cart": "ring", "pet": "prefer_local"}, 2: {"cart": "random"}, 3: {"gone": "ring"}}
    facts = topology(1, {1: A, 2: A, 3: L}, types)
    assert set(facts.hosting) == {"cart", "pet"}
    assert facts.hosting["cart"].silos == (silo(1), silo(2))
    assert facts.hosting["cart"].placement == "ring"
    assert facts.hosting["cart"].allowed is None
    assert facts.hosting["pet"].allowed == {silo(1)}


@pytest.mark.parametrize(
    ("version", "before", "after", "missed"),
    [
        (2, {1: A}, {1: A, 2: D}, False),  # the next view: nothing lies in between
        (3, {1: A}, {1: A, 2: D}, True),
        (3, {1: A, 2: J}, {1: A, 2: L}, True),
        (3, {1: A, 2: J}, {1: A, 2: A}, False),
        (3, {1: A, 2: A}, {1: A, 2: D}, False),
        (3, {1: A, 2: D}, {1: A, 2: D}, False),
        (9, {1: A}, {1: A, 2: J, 3: A}, False),
    ],
)
def test_a_silo_that_was_active_only_in_a_missed_view_is_noticed(
    version: int, before: dict[int, SiloStatus], after: dict[int, SiloStatus], missed: bool
) -> None:
    assert topology(1, before).may_have_missed(topology(version, after)) is missed
