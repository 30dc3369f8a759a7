"""Views: one order for all silos, and what they show of a silo."""

from __future__ import annotations

import msgspec
import pytest

from grange.membership.model.member import Member, SiloStatus, make_view
from tests.membership.cluster import address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus


def test_a_view_has_one_order_for_all_readers():
    members = [member(address(number)) for number in (3, 1, 2)]
    assert make_view(7, members) == make_view(7, reversed(members))
    assert [each.address for each in make_view(7, members).members] == [address(1), address(2), address(3)]


def test_active_silos_and_gateways():
    """MBT-13"""
    members = [member(address(number), status) for number, status in enumerate(SiloStatus)]
    open_ones = [msgspec.structs.replace(each, gateway=30000) for each in members]
    closed = member(address(9))
    view = make_view(1, [*open_ones, closed])
    assert [each.address for each in view.active] == [address(1), address(9)]
    assert [each.address for each in view.gateways] == [address(1)]


@pytest.mark.parametrize(
    ("rows", "dead"),
    [
        ([], False),
        ([member(address(1), LEAVING)], False),
        ([member(address(1), DEAD)], True),
        ([member(address(1, 2), JOINING)], True),
        ([member(address(1), ACTIVE), member(address(1, 2), DEAD)], True),
        ([member(address(1, 0), DEAD)], False),
        ([member(address(2), DEAD)], False),
    ],
)
def test_which_silos_are_certainly_dead(rows, dead):
    """By its own row, or by a newer generation at its endpoint; not by an older one or by another silo's row."""
    assert make_view(1, rows).is_dead(address(1)) is dead


def test_a_row_of_a_newer_grange_is_readable():
    """Unknown fields are ignored and new ones have defaults, so that versions can be mixed."""
    data = msgspec.json.decode(msgspec.json.encode(member(address(1))))
    data["colour"] = "green"
    for optional in (
        "name",
        "gateway",
        "probe",
        "road",
        "gateway_road",
        "tls",
        "gateway_tls",
        "probe_tls",
        "votes",
        "labels",
        "grains",
        "interfaces",
    ):
        data.pop(optional)
    assert msgspec.json.decode(msgspec.json.encode(data), type=Member) == member(address(1))
