"""A walk over many members in portions: each that stays is met once, also if others come and go in between."""

from __future__ import annotations

import random
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from grange.runtime.activations.roster import CHUNK, Roster


class Member:
    """As an activation: equal to itself only, and it knows its place."""

    place = 0


def filled(count: int) -> tuple[Roster[Member], list[Member]]:
    roster, members = Roster[Member](), [Member() for _ in range(count)]
    for member in members:
        member.place = roster.add(member)
    return roster, members


def test_members_come_in_their_order() -> None:
    roster, members = filled(3 * CHUNK + 1)
    assert list(roster) == members


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3 * CHUNK), st.integers(1, 2 * CHUNK), st.randoms(use_true_random=False))
def test_a_member_that_stays_is_met_once_while_others_come_and_go(count: int, portion: int, rng: random.Random) -> None:
    roster, members = filled(count)
    stay = set(rng.sample(members, count // 2))
    goes = [member for member in members if member not in stay]
    rng.shuffle(goes)
    met: list[Member] = []
    walk = iter(roster)
    while some := list(islice(walk, portion)):
        met += some
        for _ in range(min(len(goes), portion // 2)):
            gone = goes.pop()
            roster.remove(gone, gone.place)
        for _ in range(portion // 4):
            new = Member()
            new.place = roster.add(new)
    assert len(met) == len(set(met))
    assert stay <= set(met)


def test_a_walk_ends_although_members_come_faster_than_it_goes() -> None:
    roster, _ = filled(2 * CHUNK)
    met: list[Member] = []
    for member in roster:
        met.append(member)
        roster.add(Member())
    assert len(met) <= 3 * CHUNK


def test_what_is_empty_is_given_back() -> None:
    roster, members = filled(10 * CHUNK)
    for member in members:
        roster.remove(member, member.place)
    assert list(roster) == []
    assert len(roster._chunks) == 1, "only the newest, which takes the next members"
    new = Member()
    new.place = roster.add(new)
    assert list(roster) == [new]
