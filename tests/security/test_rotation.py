"""The decisions about contents of files and about ends of certificates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grange.security.pair import Described
from grange.security.rotation import DAY, Content, ContentWatch, ExpiryWatch, warning_time


def test_a_content_is_judged_when_it_was_seen_twice_in_a_row() -> None:
    watch = ContentWatch("a")
    assert [watch.seen(each) for each in "aabcbccca"] == [
        Content.USED, Content.USED, Content.UNSETTLED, Content.UNSETTLED, Content.UNSETTLED, Content.UNSETTLED,
        Content.NEW, Content.NEW, Content.USED,
    ]  # fmt: skip


def test_a_used_content_is_not_judged_again() -> None:
    watch = ContentWatch("a")
    watch.seen("b")
    assert watch.seen("b") is Content.NEW
    watch.use("b")
    assert watch.seen("b") is Content.USED
    assert watch.seen("a") is Content.UNSETTLED


def test_a_refused_content_is_reported_once() -> None:
    watch = ContentWatch("a")
    assert [watch.refuse(each) for each in "bbcb"] == [True, False, True, True]
    watch.seen("a")
    assert watch.refuse("b")


@given(st.lists(st.sampled_from("abcd"), max_size=30))
def test_what_is_judged_is_never_in_use_and_was_seen_just_before(contents: list[str]) -> None:
    watch, used, last = ContentWatch("a"), "a", "a"
    for each in contents:
        seen = watch.seen(each)
        assert (seen is Content.USED) == (each == used)
        if seen is Content.NEW:
            assert each == last
            watch.use(each)
            used = each
        last = each


def certificate(life: float, fingerprint: str = "f") -> Described:
    return Described(uri="spiffe://shop/silo", fingerprint=fingerprint, not_before=0.0, not_after=life)


@given(st.floats(3600, 800 * DAY), st.floats(0.001, 0.3))
def test_each_end_is_told_in_time_and_at_most_once_a_pause(life: float, share: float) -> None:
    watch, own = ExpiryWatch(), certificate(life)
    warn = warning_time(own)
    pause = min(DAY, warn / 4)
    told: list[float] = []
    now = life - warn * 1.5
    while now < life + 3 * pause:
        told += [now] * len(watch.due([own], now))
        now += pause * share
    assert all(life - each <= warn for each in told)
    assert told[0] <= life - warn + 2 * pause * share
    ended = [each for each in told if each >= life]
    assert ended[0] <= life + 2 * pause * share, "its end itself is told"
    assert len(told) <= (warn + 3 * pause) / pause + 2


def test_another_certificate_is_told_for_itself() -> None:
    watch = ExpiryWatch()
    first, second = certificate(10 * DAY), certificate(10 * DAY, "g")
    now = 9 * DAY
    assert watch.due([first, second], now) == [first, second]
    assert watch.due([first, second], now + 1) == []
    assert watch.due([second], now + 2) == []
    assert watch.due([first, second], now + 3) == [first], "it was forgotten in between"
