"""The ring: numbers without gaps, and the count of what is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.observability.ring import Ring


@given(size=st.integers(1, 20), count=st.integers(0, 60), number=st.integers(0, 70))
def test_a_reader_gets_each_entry_or_learns_how_many_it_missed(size: int, count: int, number: int) -> None:
    """HST-07: at its capacity, the ring overwrites the oldest entry."""
    ring: Ring[int] = Ring(size)
    for _ in range(count):
        ring.append(lambda number: number)
    rows, lost = ring.after(number)
    assert ring.last == count
    assert rows == list(range(max(number, count - size) + 1, count + 1))
    assert lost + len(rows) == max(0, count - number)


@given(size=st.integers(1, 20), count=st.integers(0, 60), newest=st.integers(1, 70))
def test_a_negative_number_asks_for_the_newest(size: int, count: int, newest: int) -> None:
    ring: Ring[int] = Ring(size)
    for _ in range(count):
        ring.append(lambda number: number)
    assert ring.after(-newest) == (list(range(1, count + 1))[-min(newest, size) :], 0)


def test_an_entry_that_is_added_while_another_is_made_keeps_the_order() -> None:
    ring: Ring[str] = Ring(5)

    def make(number: int) -> str:
        if not ring.last:
            ring.append(lambda inner: f"inner {inner}")
        return f"outer {number}"

    ring.append(make)
    assert ring.after(0) == (["inner 1", "outer 2"], 0)


def test_an_entry_that_cannot_be_made_takes_no_number() -> None:
    ring: Ring[str] = Ring(5)

    def fail(_: int) -> str:
        raise ValueError

    ring.append(str)
    with pytest.raises(ValueError):
        ring.append(fail)
    ring.append(str)
    assert ring.after(1) == (["2"], 0)
