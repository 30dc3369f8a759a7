"""Contradictory options are refused when they are made."""

from __future__ import annotations

import pytest

from grange.errors import ConfigurationError
from grange.membership.model.options import MembershipOptions

NUMBERS = [
    name for name in MembershipOptions.__struct_fields__ if not isinstance(getattr(MembershipOptions(), name), bool)
]


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_above_0(name):
    """The error names the option."""
    for wrong in (0, -1):
        with pytest.raises(ConfigurationError, match=name):
            MembershipOptions(**{name: wrong})


def test_a_cold_start_must_last_until_killed_silos_are_stale():
    """Otherwise no silo could ever join a cluster that crashed as a whole."""
    with pytest.raises(ConfigurationError, match="join_timeout"):
        MembershipOptions(join_timeout=20, alive_period=5, alive_missed=4)
    assert MembershipOptions(join_timeout=21, alive_period=5, alive_missed=4).stale_after == 20


def test_the_defaults_find_a_death_in_time():
    """Design 7: the last probe of the limit ends at most 8 s after the death, including the time of the vote."""
    options = MembershipOptions()
    longest = options.probe_interval * options.missed_limit + options.probe_timeout
    assert longest <= 4
    assert options.vote_expiry > 2 * longest
    assert options.backoff_limit <= options.refresh_period


def test_a_silo_fences_itself_before_a_vote_is_allowed():
    """R5: the margin is a quarter of a second; the defaults keep it, and "within 3 s"."""
    with pytest.raises(ConfigurationError, match="fence_after"):
        MembershipOptions(fence_after=3.01, vote_after=3.25)
    assert MembershipOptions(fence_after=3.0, vote_after=3.25).fence_after == 3.0
    assert MembershipOptions().fence_after < 3


def test_the_shortest_time_out_is_not_above_the_longest():
    with pytest.raises(ConfigurationError, match="probe_timeout_min"):
        MembershipOptions(probe_timeout_min=6)
