"""The proofs of membership."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from grange.membership.detection.monitoring_rings import probed_by, probers_of, successors
from grange.membership.fencing.proofs import (
    Proofs,
    Sweep,
    heard_all,
    may_work,
    others_active,
    swept,
    watched_since,
    watchers_of,
)
from grange.membership.model.member import Member, SiloStatus, View, make_view
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = MembershipOptions()
ACTIVE, LEAVING, JOINING, DEAD = SiloStatus.ACTIVE, SiloStatus.LEAVING, SiloStatus.JOINING, SiloStatus.DEAD


def silo(number: int, generation: int = 1) -> SiloAddress:
    return SiloAddress("127.0.0.1", 11111 + number, generation)


ME, B, C, D = (silo(number) for number in range(4))


def view(*statuses: SiloStatus, version: int = 7) -> View:
    return make_view(version, (Member(silo(n), status, NOW, NOW) for n, status in enumerate(statuses)))


def test_only_active_silos_could_take_over() -> None:
    assert others_active(ME, view(ACTIVE, ACTIVE, LEAVING, JOINING, DEAD)) == (B,)
    assert others_active(ME, view(ACTIVE, DEAD, JOINING)) == ()


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9, 30])
def test_watching_is_the_same_from_both_sides(count: int) -> None:
    all_silos = [silo(number) for number in range(count)]
    for one in all_silos:
        expected = {other for other in all_silos if other != one and one in successors(other, all_silos, 3)}
        assert probers_of(one, all_silos, 3) == expected


def test_the_watchers_are_exactly_the_active_silos_that_probe() -> None:
    seen = view(ACTIVE, ACTIVE, ACTIVE, LEAVING, JOINING, DEAD, ACTIVE, ACTIVE, ACTIVE)
    probing = {m.address for m in seen.active if ME in probed_by(m.address, seen, Ages(), OPTIONS)}
    assert watchers_of(ME, seen, OPTIONS) == probing


def test_a_new_watcher_counts_from_when_it_was_seen() -> None:
    assert watched_since({B: 1.0, C: 2.0}, frozenset({C, D}), 9.0) == {C: 2.0, D: 9.0}


def test_contact_is_as_old_as_that_with_the_least_recent_watcher() -> None:
    watched = {B: 1.0, C: 1.0, D: 8.0}
    assert heard_all(watched, {B: 9.0, C: 7.5, D: 9.5}, 2.0) == 7.5
    assert heard_all(watched, {B: 9.0, C: 7.5}, 2.0) == 7.5
    assert heard_all(watched, {B: 9.0}, 2.0) == 1.0
    assert heard_all({}, {B: 9.0}, 2.0) == 2.0


def test_the_most_recent_proof_counts() -> None:
    assert Proofs(1, 5, -math.inf).latest == 5
    assert Proofs(9, 5, -math.inf).latest == 9
    assert Proofs(1, 5, 6).latest == 6


@pytest.mark.parametrize(("status", "may"), [(JOINING, True), (ACTIVE, True), (LEAVING, True), (DEAD, False)])
def test_a_table_proves_the_membership_of_all_silos_but_the_dead(status: SiloStatus, may: bool) -> None:
    assert may_work(ME, view(status, ACTIVE)) is may


def test_a_table_proves_nothing_for_a_missing_or_replaced_silo() -> None:
    assert not may_work(silo(9), view(ACTIVE))
    newer = Member(silo(0, generation=2), JOINING, NOW, NOW)
    assert not may_work(ME, make_view(8, (*view(ACTIVE).members, newer)))


@pytest.mark.parametrize(
    ("others", "answers", "verdict"),
    [
        ((), {}, Sweep.MAJORITY),  # no other silo can know a newer view
        ((B,), {}, Sweep.TOO_FEW),  # one of two is no majority
        ((B,), {B: 7}, Sweep.MAJORITY),
        ((B, C), {B: 7}, Sweep.MAJORITY),
        ((B, C, D), {B: 7}, Sweep.TOO_FEW),  # two of four: the other half may be the cluster
        ((B, C, D), {B: 7, C: 3}, Sweep.MAJORITY),
        ((B, C), {B: 7, C: 8}, Sweep.NEWER),
        ((B, C, D), {D: 8}, Sweep.NEWER),
    ],
)
def test_a_sweep_is_a_proof_if_a_majority_has_seen_nothing_newer(
    others: tuple[SiloAddress, ...], answers: dict[SiloAddress, int], verdict: Sweep
) -> None:
    assert swept(others, 7, answers) is verdict
