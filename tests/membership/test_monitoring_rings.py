"""The silos that each silo probes: enough different ones, never itself, the same in every process, and all suspects."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from grange.membership.detection.monitoring_rings import first_ring, probed_by, relays, successors
from grange.membership.model.member import SiloStatus, Vote, make_view
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress
from tests.membership.cluster import START, address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
OPTIONS = MembershipOptions()
groups = st.sets(st.builds(SiloAddress, st.just("a"), st.integers(1, 99), st.integers(1, 3)), min_size=1, max_size=12)


@given(groups, st.integers(0, 5))
def test_as_many_different_others_as_there_are(group, count):
    """MEM-09: three of many silos, fewer of few, never itself."""
    for me in group:
        chosen = successors(me, group, count)
        assert len(chosen) == len(set(chosen)) == min(count, len(group) - 1)
        assert me not in chosen
        assert set(chosen) <= group
        assert chosen == successors(me, sorted(group, reverse=True), count)


@given(groups)
def test_every_silo_is_probed(group):
    """On each ring every silo has a predecessor; the first ring alone watches all."""
    watched = {silo for me in group for silo in successors(me, group, 3)}
    assert watched == (group if len(group) > 1 else set())


def test_rings_have_different_orders():
    """Each seed gives another order: otherwise the probes would watch neighbours only, and a cut would go unnoticed."""
    group = [address(number) for number in range(30)]
    first = {me: successors(me, group, 1)[0] for me in group}
    along_the_first = {me: (first[me], first[first[me]], first[first[first[me]]]) for me in group}
    assert sum(successors(me, group, 3) == along_the_first[me] for me in group) < 5


def test_only_an_active_silo_probes():
    """MEM-09"""
    members = [member(address(number), status) for number, status in enumerate(SiloStatus)]
    view = make_view(1, members)
    for number, status in enumerate(SiloStatus):
        assert bool(probed_by(address(number), view, Ages(), OPTIONS)) == (status is ACTIVE)
    assert probed_by(address(9), view, Ages(), OPTIONS) == ()


def test_all_silos_but_the_dead_are_probed():
    """A silo that crashes while it joins or leaves must be found, too."""
    members = [member(address(number), status) for number, status in enumerate(SiloStatus)]
    assert set(probed_by(address(1), make_view(1, members), Ages(), OPTIONS)) == {address(0), address(2)}


def test_every_suspect_is_probed_by_all_while_the_suspicion_lasts():
    """Any silo may give the second vote."""
    others = [member(address(number)) for number in range(20)]
    vote = Vote(address(3), START)
    suspect = msgspec.structs.replace(member(address(50)), votes=(vote,))
    view = make_view(1, [*others, suspect])
    for other in others:
        assert suspect.address in probed_by(other.address, view, Ages(), OPTIONS)
    later = Ages(votes={(suspect.address, vote): OPTIONS.vote_expiry})
    assert any(suspect.address not in probed_by(other.address, view, later, OPTIONS) for other in others)
    assert suspect.address not in probed_by(suspect.address, view, Ages(), OPTIONS)


def test_stale_silos_are_probed_by_all():
    """MEM-10: in addition to the rings; not by themselves, and not the dead."""
    others = [member(address(number)) for number in range(20)]
    view = make_view(1, [*others, member(address(50), LEAVING), member(address(51), DEAD)])
    stale = {address(5), address(50), address(51)}
    for other in others:
        found = probed_by(other.address, view, Ages(), OPTIONS, stale)
        assert {address(5), address(50)} - {other.address} <= set(found)
        assert address(51) not in found
        assert other.address not in found


def test_relays_are_other_silos_that_are_active_and_not_stale():
    """MEM-11"""
    view = make_view(
        1, [member(address(number), status) for number, status in enumerate([ACTIVE, *SiloStatus, ACTIVE])]
    )
    assert relays(address(0), view) == (address(2), address(5))
    assert relays(address(0), view, {address(2)}) == (address(5),)
    assert relays(address(2), view, {address(2)}) == (address(0), address(5))


@given(groups)
def test_on_the_first_ring_every_silo_is_probed_by_its_predecessor(group):
    """A silo's expectation of probes depends on it."""
    for me in group:
        ring = first_ring(me, group)
        assert sorted(ring) == sorted(group)
        if len(ring) > 1:
            assert me in successors(ring[ring.index(me) - 1], group, 1)
