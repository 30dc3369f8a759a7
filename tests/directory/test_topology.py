"""The facts that a topology derives from a view."""

from __future__ import annotations

import pytest

from grange.directory.slice.topology import Topology, previous_owners
from grange.membership.model.member import Member, SiloStatus, View, Vote, make_view
from grange.proto.ids import SiloAddress
from tests.directory.cluster import THEN

J, A, L, D = SiloStatus.JOINING, SiloStatus.ACTIVE, SiloStatus.LEAVING, SiloStatus.DEAD


def silo(port: int, generation: int = 1) -> SiloAddress:
    return SiloAddress("silo", port, generation)


def topology(
    version: int, statuses: dict[int, SiloStatus], grains: dict[int, dict[str, str]] | None = None
) -> Topology:
    registrations = grains or {}
    members = [
        Member(silo(port), status, THEN, THEN, grains=registrations.get(port, {})) for port, status in statuses.items()
    ]
    return Topology(make_view(version, members))


def test_only_active_silos_own_ranges_and_leaving_ones_still_live() -> None:
    facts = topology(1, {1: J, 2: A, 3: L, 4: D})
    assert facts.ring.addresses == {silo(2)}
    assert facts.live == {silo(2), silo(3)}
    assert not facts.ranges(silo(3))
    assert facts.ranges(silo(2))
    assert facts.unsettled == {silo(1), silo(3)}


def test_a_suspected_silo_is_unsettled_until_it_is_dead() -> None:
    votes = (Vote(silo(1), THEN),)
    suspected, dead = (Member(silo(n), status, THEN, THEN, votes=votes) for n, status in ((2, A), (3, D)))
    assert Topology(make_view(1, [Member(silo(1), A, THEN, THEN), suspected, dead])).unsettled == {silo(2)}


def test_a_newer_generation_at_the_same_endpoint_proves_the_older_dead() -> None:
    members = [Member(silo(1, generation), A, THEN, THEN) for generation in (1, 2)]
    facts = Topology(make_view(1, members))
    assert facts.is_dead(silo(1, 1))
    assert not facts.is_dead(silo(1, 2))
    assert not facts.is_dead(silo(1, 3))
    assert not facts.is_dead(silo(9))
    assert facts.live == {silo(1, 2)}


def test_a_type_has_its_active_hosts_and_one_placement() -> None:
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


VOTE = (Vote(silo(9), THEN),)


@pytest.mark.parametrize(
    ("before", "after", "voted", "abrupt"),
    [
        (A, D, True, True),
        (A, D, False, False),  # it wrote its own death, or its successor did
        (L, D, True, True),  # declared dead while it left
        (L, D, False, False),
        (J, D, True, True),
        (None, D, True, True),  # it was active in a missed view
        (D, D, True, False),
        (A, A, True, False),  # suspected
        (A, L, True, False),
        (A, None, False, True),  # its row was lost with the table
        (D, None, False, False),  # its row was cleaned up
    ],
)
def test_which_deaths_are_abrupt(
    before: SiloStatus | None, after: SiloStatus | None, voted: bool, abrupt: bool
) -> None:
    """DIR-10: the deaths that a view shows, compared with the view before."""

    def facts(version: int, status: SiloStatus | None, votes: tuple[Vote, ...]) -> Topology:
        other = Member(silo(2), A, THEN, THEN)
        rows = [other] if status is None else [Member(silo(1), status, THEN, THEN, votes=votes), other]
        return Topology(make_view(version, rows))

    later = facts(8, after, VOTE if voted else ())
    old_votes = VOTE if before is D and voted else ()
    assert facts(7, before, old_votes).abrupt_deaths(later) == ([silo(1)] if abrupt else [])
    assert Topology(View(0)).abrupt_deaths(later) == []


def test_a_death_is_not_abrupt_if_a_newer_generation_runs_at_the_endpoint() -> None:
    dead = Member(silo(1), D, THEN, THEN, votes=VOTE)
    later = Topology(make_view(8, [dead, Member(silo(1, 2), J, THEN, THEN)]))
    assert topology(7, {1: A}).abrupt_deaths(later) == []
    assert later.is_superseded(silo(1))
    assert not later.is_superseded(silo(1, 2))


@pytest.mark.parametrize(
    ("version", "before", "after", "owners"),
    [
        (2, {1: A, 2: A}, {1: A, 2: A, 3: A}, {1, 2}),  # 3 joins
        (3, {1: A, 2: A}, {1: A, 2: A, 3: A}, set()),  # a view was missed
        (2, {1: A, 2: A, 3: J, 4: J}, {1: A, 2: A, 3: A, 4: A}, set()),  # two at once: a rebuilt table
        (2, {1: A, 2: A}, {1: D, 2: A, 3: A}, set()),
        (2, {1: A, 2: L}, {1: A, 2: L, 3: A}, {1}),  # a leaving silo owns nothing
        (1, {}, {3: A}, set()),
    ],
)
def test_previous_owners_of_the_ranges_of_a_joining_silo(
    version: int, before: dict[int, SiloStatus], after: dict[int, SiloStatus], owners: set[int]
) -> None:
    facts, later = topology(1, before), topology(version, after)
    gained = later.ranges(silo(3))
    parts = previous_owners(facts, later, silo(3), gained)
    assert set(parts) == {silo(port) for port in owners}
    for owner, ranges in parts.items():
        assert ranges == gained & facts.ranges(owner)


@pytest.mark.parametrize(("status", "hands_over"), [(L, True), (D, False)])
def test_previous_owners_when_a_silo_leaves_or_dies(status: SiloStatus, hands_over: bool) -> None:
    facts, later = topology(1, {1: A, 2: A, 3: A}), topology(2, {1: status, 2: A, 3: A})
    gained = later.ranges(silo(2)) - facts.ranges(silo(2))
    assert gained
    assert previous_owners(facts, later, silo(2), gained) == ({silo(1): gained} if hands_over else {})
