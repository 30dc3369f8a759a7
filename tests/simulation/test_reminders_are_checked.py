"""The checker of reminders (I5) finds each kind of violation, and nothing in a right history."""

from __future__ import annotations

import pytest

from grange.testing.checks.reminders import Armed, Came, Faults, Life, lives, ticks

SECOND = 1_000_000
FAULTS = Faults(settled=0, until=100 * SECOND, slack=SECOND, none=True)
ARMED = Armed("r", 10 * SECOND, 10 * SECOND)


def came(second: float, scheduled: int | None = None, id: str = "r", missed: int = 0) -> Came:
    """A tick that came at this second."""
    due = round(second) * SECOND if scheduled is None else scheduled * SECOND
    return Came(round(second * SECOND), f"{id}-{due}", due, missed)


RIGHT = [came(second + 0.1) for second in range(10, 100, 10)]


def found(mine: list[Came], gone: float | None = None, sure_until: float = 100, faults: Faults = FAULTS) -> list[str]:
    """The texts of all violations."""
    life = Life("k", ARMED, 0, int(sure_until * SECOND), None if gone is None else int(gone * SECOND))
    return [each.text for each in (*ticks("k", mine), *lives([life], mine, faults))]


def test_a_right_history_has_no_violation() -> None:
    """Also one that ends early, or leaves ticks out by its policy."""
    assert found(RIGHT) == []
    assert found(RIGHT[:4], gone=45, sure_until=45) == []
    assert found([*RIGHT[:2], came(60.1, missed=3), *RIGHT[6:]]) == []


@pytest.mark.parametrize(
    ("mine", "gone", "message"),
    [
        ([*RIGHT, came(99.0, scheduled=100)], None, "early"),
        ([*RIGHT, came(99.5, scheduled=95)], None, "off the cadence"),
        ([*RIGHT[:4], *RIGHT[5:]], None, "never came"),
        ([*RIGHT[:8], came(93.0, scheduled=90)], None, "3.00 s late"),
        ([*RIGHT, RIGHT[-1]], None, "came twice"),
        (RIGHT, 45, "after it was gone"),
    ],
)
def test_each_kind_of_violation_is_found(mine: list[Came], gone: float | None, message: str) -> None:
    """One history for each."""
    assert any(message in text for text in found(mine, gone, gone or 100))


def test_one_tick_has_one_id() -> None:
    """Two ids of one tick, and one id of two ticks."""
    other = Came(11 * SECOND, "r-other", 10 * SECOND, 0)
    assert any("another id" in text for text in found([*RIGHT, other]))
    twice = Came(21 * SECOND, RIGHT[0].id, 20 * SECOND, 0)
    assert any("two times" in text for text in found([*RIGHT, twice]))


def test_with_faults_a_cut_off_silo_may_deliver_a_stale_tick() -> None:
    """But not many, and none after the faults."""
    faults = Faults(settled=60 * SECOND, until=100 * SECOND, slack=60 * SECOND, none=False)
    assert found(RIGHT[:5], gone=45, sure_until=45, faults=faults) == []
    assert found(RIGHT[:7], gone=35, sure_until=35, faults=faults) != []
    assert found([*RIGHT[:3], RIGHT[7]], gone=35, sure_until=35, faults=faults) != []
