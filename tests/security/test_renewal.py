"""When an accepted connection is replaced or cut (S8)."""

from __future__ import annotations

import random

import pytest

from grange.security.certificate import Certificate
from grange.security.options import TlsOptions
from grange.security.renewal import CUT_AFTER, LEAD, Ask, Cut, RenewalTimes, Standing, Why, judge

DATE = 1_700_000_000.0
TIMES = RenewalTimes(3600.0, 5.0, 20.0)


def standing(ends_in: float = 86_400.0, age: float = 3600.0, life: float = 86_400.0) -> Standing:
    """A connection accepted at loop time 0, on DATE."""
    ends = DATE + ends_in
    certificate = Certificate(uri="spiffe://shop/client/web", not_before=ends - life, not_after=ends)
    return Standing(certificate, 0.0, DATE, age)


def at(of: Standing, now: float, *, revoked: bool = False) -> Ask | Cut | None:
    return judge(of, now, DATE + now, revoked=revoked, times=TIMES)


def test_an_old_connection_is_replaced_once() -> None:
    of = standing()
    assert at(of, 3599) is None
    assert at(of, 3600) == Ask(Why.AGE)
    assert at(of, 3601) is None


def test_a_peer_that_does_not_open_another_one_is_cut_after_as_long_again() -> None:
    of = standing()
    at(of, 3600)
    assert at(of, 7199) is None
    assert at(of, 7200) == Cut(Why.IGNORED)


def test_another_pair_of_the_silo_replaces_a_connection_earlier() -> None:
    of = standing()
    of.renew_before(7.0)
    assert at(of, 6.9) is None
    assert at(of, 7.0) == Ask(Why.PAIR)
    of.renew_before(8.0)  # it was asked already
    assert at(of, 8.0) is None


def test_a_revoked_one_is_asked_and_cut_soon_after() -> None:
    of = standing()
    assert at(of, 10, revoked=True) == Ask(Why.REVOKED, CUT_AFTER)
    assert at(of, 10 + CUT_AFTER - 0.1, revoked=True) is None
    assert at(of, 10 + CUT_AFTER, revoked=True) == Cut(Why.REVOKED)


def test_one_that_was_asked_for_its_age_is_revoked_like_any_other() -> None:
    of = standing()
    at(of, 3600)
    assert at(of, 3610, revoked=True) == Ask(Why.REVOKED, CUT_AFTER)
    assert at(of, 3610 + CUT_AFTER, revoked=True) == Cut(Why.REVOKED)


def test_a_peer_whose_certificate_ends_is_asked_before_and_cut_at_its_end() -> None:
    of = standing(ends_in=1000)
    assert at(of, 1000 - LEAD - 1) is None
    ask = at(of, 1000 - LEAD)
    assert isinstance(ask, Ask)
    assert (ask.why, ask.cut_in) == (Why.EXPIRED, pytest.approx(LEAD))
    assert at(of, 999.9) is None
    assert at(of, 1000) == Cut(Why.EXPIRED)


def test_a_short_life_has_a_short_notice() -> None:
    of = standing(ends_in=50, life=100)
    assert at(of, 39.9) is None
    assert isinstance(at(of, 40), Ask)


def test_a_connection_with_a_certificate_that_ends_is_not_replaced_without_end() -> None:
    """One that was opened in its last minute shows the same certificate: it is cut at the end, and not asked."""
    of = standing(ends_in=LEAD / 2)
    assert at(of, 1) is None
    assert at(of, LEAD / 2) == Cut(Why.EXPIRED)


def test_a_connection_without_a_certificate_ages_only() -> None:
    of = Standing(None, 0.0, DATE, 3600.0)
    assert at(of, 3599) is None
    assert at(of, 3600) == Ask(Why.AGE)


def test_connections_of_one_moment_part() -> None:
    ages = {TIMES.age(random.Random(seed)) for seed in range(50)}
    assert len(ages) == 50
    assert 3240 <= min(ages) < max(ages) <= 3960


def test_all_is_replaced_within_a_minute_of_the_change_of_a_file() -> None:
    """S8: with the defaults: a look, the second look a second later, and the accepted ones."""
    options = TlsOptions()
    times = RenewalTimes.of(options)
    assert options.check_every + 1 + times.accepted_within + 1 < 60
    assert options.check_every + 1 + CUT_AFTER < 15
