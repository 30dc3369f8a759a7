"""I7: views of one history are accepted, and each kind of violation is named."""

from __future__ import annotations

from collections.abc import Iterable

from grange.testing.checks.membership import Contact, Seen, agreement, membership


def seen(t: float, observer: str, version: int, incarnation: str = "", **statuses: str) -> Seen:
    return Seen(t, observer, version, statuses, incarnation)


def texts(found: Iterable[object]) -> list[str]:
    return [str(each) for each in found]


def test_one_history_seen_at_different_times_is_accepted() -> None:
    views = [
        seen(1, "a", 1, a="active"),
        seen(2, "a", 2, a="active", b="joining"),
        seen(3, "b", 3, a="active", b="active"),
        seen(9, "a", 3, a="active", b="active"),
        seen(10, "a", 4, a="active", b="dead"),
    ]
    assert membership(views) == []


def test_a_version_that_falls_or_repeats_is_rejected() -> None:
    views = [seen(1, "a", 5, a="active"), seen(2, "a", 4, a="active")]
    assert texts(membership(views)) == ["I7 a: went from version 5 to 4"]
    assert len(membership([views[0], views[0]])) == 1


def test_a_dead_silo_does_not_return_in_the_views_of_one_silo() -> None:
    views = [seen(1, "a", 1, b="dead"), seen(2, "a", 2), seen(3, "a", 3, b="active")]
    assert texts(membership(views)) == ["I7 a: b was dead and is active in version 3"]
    assert membership(views[:2]) == [], "a dead row may be removed"


def test_one_version_with_two_contents_is_rejected_unless_the_incarnations_differ() -> None:
    views = [seen(1, "a", 3, "x", a="active"), seen(2, "b", 3, "x", a="dead")]
    assert texts(membership(views)) == ["I7 cluster: a and b see different versions 3: a is active or dead"]
    assert membership([views[0], seen(2, "b", 3, "y", a="dead")]) == []


def test_a_new_active_silo_must_have_been_probed_both_ways() -> None:
    views = [seen(1, "a", 1, a="active"), seen(5, "a", 2, a="active", b="active")]
    there, back = Contact(3, "a", "b"), Contact(4, "b", "a")
    assert membership(views, [there, back]) == []
    for contacts in ([there], [back], [there, Contact(6, "b", "a")]):
        assert texts(membership(views, contacts)) == ["I7 b: became active without contact both ways with a"]


def test_live_silos_agree_after_the_quiet_period() -> None:
    views = [seen(1, "a", 1, a="active", b="active", c="active"), seen(12, "a", 2, a="active", b="active", c="dead")]
    late = [*views, seen(26, "b", 2, a="active", b="active", c="dead")]
    in_time = [*views, seen(18, "b", 2, a="active", b="active", c="dead")]
    assert agreement(in_time, {"a", "b"}, 10.0) == []
    assert texts(agreement(late, {"a", "b"}, 10.0)) == ["I7 b: sees no silo as active; the live silos are a, b"]


def test_a_missing_live_silo_and_an_old_version_are_rejected() -> None:
    views = [seen(1, "a", 2, a="active"), seen(1, "b", 3, a="active", b="active")]
    assert texts(agreement(views, {"a", "b"}, 0.0)) == [
        "I7 a: sees a as active; the live silos are a, b",
        "I7 cluster: live silos are at versions [2, 3] after 10.0 s",
    ]
