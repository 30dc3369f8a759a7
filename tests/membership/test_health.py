"""The local health score: the signs that raise it, and which silos expect probes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.membership.detection.health import MAX_SCORE, Signs, expects_probes, score_of, suspicions_of
from grange.membership.detection.monitoring_rings import probed_by
from grange.membership.model.member import SiloStatus, Vote, make_view
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from tests.membership.cluster import START, address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
ME = address(1)
OPTIONS = MembershipOptions()
signs = st.builds(
    Signs,
    st.just(True),
    st.floats(0, 100),
    st.integers(0, 9),
    st.integers(0, 9),
    st.booleans(),
    st.integers(0, 9),
)


@pytest.mark.parametrize(
    ("seen", "score"),
    [
        (Signs(True), 0),
        (Signs(False), 8),
        (Signs(True, lag=0.99), 0),
        (Signs(True, lag=3.7), 3),
        (Signs(True, lag=100), 8),
        (Signs(True, probed=3, silent=1), 0),
        (Signs(True, probed=2, silent=1), 0),
        (Signs(True, probed=3, silent=2), 1),
        (Signs(True, probed=1, silent=1), 0),
        (Signs(True, unheard=True), 1),
        (Signs(True, suspicions=2), 2),
        (Signs(True, 2.5, 3, 3, True, 1), 5),
    ],
)
def test_the_signs_that_raise_the_score(seen, score):
    """1 for each second of lag, 1 if most watched silos are silent, 1 if no probes arrive, 1 for each suspicion."""
    assert score_of(seen) == score


@given(signs, signs)
def test_worse_signs_are_never_a_better_score(one, other):
    """The score stays within 0 to 8."""
    worse = Signs(
        True,
        max(one.lag, other.lag),
        min(one.probed, other.probed),
        max(one.silent, other.silent),
        one.unheard or other.unheard,
        max(one.suspicions, other.suspicions),
    )
    assert 0 <= score_of(one) <= MAX_SCORE
    if worse.probed > 1 or one.probed <= 1:
        assert score_of(worse) >= score_of(one)


def test_only_fresh_votes_of_active_silos_are_suspicions():
    votes = (Vote(address(2), START), Vote(address(3), START), Vote(address(4), START))
    me = msgspec.structs.replace(member(ME), votes=votes)
    view = make_view(1, [me, member(address(2)), member(address(3), DEAD), member(address(4))])
    ages = Ages(votes={(ME, vote): age for vote, age in zip(votes, (59.0, 59.0, 60.0), strict=True)})
    assert suspicions_of(ME, view, ages, OPTIONS.vote_expiry) == 1
    assert suspicions_of(ME, view, Ages(votes={(ME, vote): 60.0 for vote in votes}), OPTIONS.vote_expiry) == 0
    assert suspicions_of(address(9), view, ages, OPTIONS.vote_expiry) == 0


@given(st.lists(st.sampled_from(list(SiloStatus)), max_size=12))
def test_a_silo_that_expects_probes_is_probed(statuses):
    """Probes are never expected in vain, and always expected where all silos are active and not alone."""
    me = address(50)
    view = make_view(1, [member(me), *(member(address(number), each) for number, each in enumerate(statuses))])
    probers = [each for each in view.members if me in probed_by(each.address, view, Ages(), OPTIONS)]
    if expects_probes(me, view):
        assert probers
    if statuses and set(statuses) == {ACTIVE}:
        assert expects_probes(me, view)
    if not probers:
        assert not expects_probes(me, view)
