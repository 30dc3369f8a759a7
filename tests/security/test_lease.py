"""A lease is renewed at two thirds, and replaced when its renewals shrink to their end."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from grange.security.lease import Lease


def test_it_is_due_at_two_thirds() -> None:
    lease = Lease(100.0, 30.0)
    assert (lease.due, lease.end) == (120.0, 130.0)


def test_one_without_a_length_never_ends() -> None:
    assert (Lease(1.0, 0.0).due, Lease(1.0, 0.0).end) == (inf, inf)


def test_renewals_that_shrink_end() -> None:
    """Vault gives a full lease until the longest time comes near, then what is left of it."""
    first = Lease(0.0, 60.0)
    second = first.renewed(40.0, 60.0)
    assert second is not None
    assert second.due == 80.0
    third = second.renewed(80.0, 31.0)
    assert third is not None
    assert third.first == 60.0
    assert third.renewed(100.0, 29.0) is None


@given(st.floats(0, 1e6), st.floats(0.1, 1e6))
def test_a_renewal_is_always_before_the_end(since: float, seconds: float) -> None:
    lease = Lease(since, seconds)
    assert since <= lease.due <= lease.end
