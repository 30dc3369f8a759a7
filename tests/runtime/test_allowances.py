"""What one identity may take: connections, requests and bytes a second (S6, F28)."""

from __future__ import annotations

import pytest

from grange.errors import HandshakeRefused
from grange.runtime.calls.allowances import MOST_KEPT, Allowance, Allowances
from grange.runtime.options import RuntimeOptions

MUCH = (10**9, 10**9)


def allowances(**options: int) -> Allowances:
    return Allowances(RuntimeOptions(**options))  # type: ignore[arg-type]


def test_an_identity_has_so_many_connections_and_others_have_theirs() -> None:
    told: list[tuple[str, str]] = []
    silo = allowances(identity_connections=2)
    silo.on_refused = lambda reason, name: told.append((reason, name))
    first = silo.join("web", 0.0)
    assert silo.join("web", 0.0) is first
    with pytest.raises(HandshakeRefused, match="web has 2 connections") as caught:
        silo.join("web", 0.0)
    assert (caught.value.code, caught.value.retry_after) == ("too-many", 5.0)
    silo.join("other", 0.0)
    assert told == [("identity-connections", "web")]
    silo.leave(first, 1.0)
    silo.join("web", 1.0)


def test_a_connection_that_is_to_be_replaced_leaves_room_for_the_other_one() -> None:
    """And not more than one: S8."""
    silo = allowances(identity_connections=1)
    web = silo.join("web", 0.0)
    web.renewing += 1
    silo.join("web", 0.0)
    with pytest.raises(HandshakeRefused):
        silo.join("web", 0.0)
    silo.leave(web, 1.0, renewing=True)
    assert (web.connections, web.renewing) == (1, 0)
    with pytest.raises(HandshakeRefused):
        silo.join("web", 1.0)


def test_without_rates_nothing_is_counted() -> None:
    allowance = allowances().join("web", 0.0)
    assert not allowance.has_rates
    assert allowance.room(MUCH) == MUCH
    assert allowance.wait() == 0.0


def test_requests_have_one_second_of_their_rate_at_once() -> None:
    allowance = Allowance("web", 100, 0, 0.0)
    assert allowance.room(MUCH) == (100, 10**9)
    allowance.take(100, 5)
    assert allowance.room((50, 7)) == (0, 7)
    assert allowance.wait() > 0
    allowance.refill(0.25)
    assert allowance.room(MUCH)[0] == 25
    assert allowance.wait() == 0
    allowance.refill(100.0)
    assert allowance.room(MUCH)[0] == 100


def test_a_large_request_is_possible_and_the_next_ones_wait_for_it() -> None:
    allowance = Allowance("web", 0, 1000, 0.0)
    assert allowance.wait() == 0
    allowance.take(1, 3000)
    assert allowance.room(MUCH) == (10**9, -2000)
    assert allowance.wait() == pytest.approx(2.0)
    allowance.refill(1.9)
    assert allowance.wait() > 0
    allowance.refill(2.1)
    assert allowance.wait() == 0


def test_a_reserve_lets_questions_through_for_a_while() -> None:
    allowance = Allowance("web", 10, 0, 0.0)
    allowance.take(10, 0)
    assert allowance.wait() > 0
    assert allowance.wait(1.0) == 0
    allowance.take(10, 0)
    assert allowance.wait(1.0) > 0


def test_a_new_connection_brings_no_new_allowance() -> None:
    silo = allowances(identity_requests=10)
    allowance = silo.join("web", 0.0)
    allowance.take(10, 0)
    silo.leave(allowance, 0.0)
    again = silo.join("web", 0.1)
    again.refill(0.1)
    assert again.room(MUCH)[0] == 1


def test_full_allowances_are_forgotten_and_of_others_a_bounded_number_is_kept() -> None:
    silo = allowances(identity_requests=10)
    for number in range(2 * MOST_KEPT):
        allowance = silo.join(f"client-{number}", 0.0)
        allowance.take(1, 0)
        silo.leave(allowance, 0.0)
    assert len(silo._left) == MOST_KEPT
    silo.leave(silo.join("late", 10.0), 10.0)
    assert (silo._left, silo._of) == ({}, {})
