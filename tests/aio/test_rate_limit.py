"""The rate limit of log lines: what passes, and that every line left out is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grange.aio.rate_limit import LINES, MAX_KEYS, PERIOD, RateLimit


def test_ten_lines_of_a_key_pass_and_the_last_says_so() -> None:
    limit = RateLimit()
    passed = [limit.suffix("key", 0.5 * number) for number in range(25)]
    assert passed[:9] == [""] * 9
    assert passed[9] == " (further ones are suppressed for 56 s)"
    assert passed[10:] == [None] * 15
    assert limit.suffix("key", PERIOD) == " (15 suppressed)"
    assert limit.suffix("key", PERIOD) == ""


def test_keys_are_apart() -> None:
    limit = RateLimit()
    for _ in range(2 * LINES):
        limit.suffix("loud", 0.0)
    assert limit.suffix("quiet", 0.0) == ""


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=200))
def test_every_line_passes_or_is_counted(lines: list[tuple[str, float]]) -> None:
    limit, now, passed = RateLimit(), 0.0, 0
    for key, pause in lines:
        now += pause
        passed += limit.suffix(key, now) is not None
    assert passed + limit.suppressed == len(lines)


def test_any_number_of_keys_takes_bounded_memory_and_a_bounded_number_of_lines() -> None:
    """A key may come from elsewhere; a new one for each line must not pass the limit for ever."""
    limit = RateLimit()
    passed = sum(limit.suffix(number, 0.0) is not None for number in range(10 * MAX_KEYS))
    assert passed == MAX_KEYS + LINES
    assert limit.suppressed == 9 * MAX_KEYS - LINES
    later = [limit.suffix(number, PERIOD) for number in range(MAX_KEYS // 2)]
    assert later == [""] * (MAX_KEYS // 2)
