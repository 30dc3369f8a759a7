"""I1, I2 and I8: each checker accepts correct histories and names each violation."""

from __future__ import annotations

from collections.abc import Iterable

from grange.testing.checks.acknowledged import acknowledged
from grange.testing.checks.history import Event, Kind
from grange.testing.checks.outcomes import Execution, outcomes
from grange.testing.checks.writers import Turn, Write, overlaps, writers
from grange.testing.simulation.invariants import check_window


def increments(*ends: Kind, key: str = "a", took: float = 1.0) -> list[Event]:
    """Consecutive increments with these outcomes; `invoke` stands for one that never ended."""
    events: list[Event] = []
    for number, kind in enumerate(ends, 1):
        events.append(Event(10.0 * number, "c", number, "invoke", "increment", key))
        if kind != "invoke":
            events.append(Event(10.0 * number + took, "c", number, kind, "increment", key, error="E"))
    return events


def texts(found: Iterable[object]) -> list[str]:
    return [str(each) for each in found]


def test_i1_accepts_values_between_acknowledged_and_possible() -> None:
    history = increments("ok", "ok", "unknown", "invoke", "fail")
    for final in (2, 3, 4):
        assert acknowledged(history, {"a": final}) == []


def test_i1_rejects_a_lost_write() -> None:
    assert texts(acknowledged(increments("ok", "ok", "unknown"), {"a": 1})) == [
        "I1 a: 2 were acknowledged, 1 are stored: writes were lost"
    ]
    assert len(acknowledged(increments("ok"), {})) == 1, "a missing counter counts as 0"


def test_i1_rejects_a_write_made_twice_or_by_a_call_that_failed() -> None:
    assert "made twice" in texts(acknowledged(increments("ok", "unknown", "fail"), {"a": 3}))[0]
    assert len(acknowledged([], {"a": 1})) == 1


def test_i1_checks_each_counter_and_adds_amounts() -> None:
    history = [
        Event(1, "c", 1, "invoke", "increment", "a", 5),
        Event(2, "c", 1, "ok", "increment", "a", 5),
        Event(3, "c", 2, "invoke", "read", "a"),
        Event(4, "c", 2, "ok", "read", "a", 5),
    ]
    assert acknowledged(history, {"a": 5}) == []
    assert [found.key for found in acknowledged(history, {"a": 4, "b": 0, "c": 1})] == ["a", "c"]


def write(before: str | None, etag: str, activation: str = "A", grain: str = "g") -> Write:
    return Write(0.0, grain, before, etag, "silo", activation)


def test_i2_accepts_one_chain_through_successive_activations() -> None:
    chain = [write(None, "1"), write("1", "2"), write("2", "3", "B"), write("3", "4", "C")]
    others = [write(None, "1", "A", "h"), write("1", "2", "A", "h")]
    assert writers([chain[0], others[0], *chain[1:], others[1]]) == []


def test_i2_rejects_a_fork() -> None:
    found = writers([write(None, "1"), write("1", "2"), write("1", "3", "B")])
    assert texts(found) == ["I2 g: B on silo wrote 3 over 1 when 2 was stored: a fork"]


def test_i2_rejects_a_second_first_write_and_a_gap() -> None:
    assert len(writers([write(None, "1"), write(None, "1", "B")])) == 1
    assert len(writers([write(None, "1"), write("2", "3")])) == 1


def test_i2_rejects_a_write_of_an_older_activation() -> None:
    found = writers([write(None, "1"), write("1", "2", "B"), write("2", "3", "A")])
    assert texts(found) == ["I2 g: A on silo wrote 3 after a newer activation had written"]


def turn(start: float, end: float, activation: str, grain: str = "g") -> Turn:
    return Turn(start, end, grain, activation)


def test_turns_of_one_activation_or_of_different_grains_are_no_duplicates() -> None:
    assert overlaps([turn(0, 5, "A"), turn(1, 2, "A"), turn(1, 2, "B", "h")]) == []
    assert overlaps([turn(0, 1, "A"), turn(1, 2, "B")]) == [], "one ended as the other began"


def test_concurrent_turns_of_two_activations_are_counted() -> None:
    long, inside, after = turn(0, 5, "A"), turn(1, 2, "B"), turn(3, 4, "B")
    assert overlaps([after, long, inside]) == [(long, inside), (long, after)]


def test_i2_rejects_turns_that_an_older_activation_begins_for_too_long() -> None:
    newer, older = turn(1, 2, "B"), turn(0, 20, "A")
    assert list(check_window([older, newer])) == [], "a turn that began before may run on"
    assert list(check_window([older, newer, turn(3.9, 4, "A")])) == []
    found = check_window([older, newer, turn(4.5, 5, "A")])
    assert texts(found) == ["I2 cluster: two activations of one grain began turns for 3.500 s"]


def test_i8_accepts_calls_that_ended_with_a_true_outcome() -> None:
    history = increments("ok", "fail", "unknown", "unknown")
    executed = [Execution("c", 1), Execution("c", 4)]
    assert outcomes(history, 1.0, executed) == []


def test_i8_rejects_a_call_that_ended_late() -> None:
    assert outcomes(increments("ok", took=3.0), 2.0) == []
    assert texts(outcomes(increments("ok", took=3.1), 2.0)) == [
        "I8 a: increment c/1 ended after 3.1 s, its deadline was 2.0 s"
    ]


def test_i8_rejects_a_call_that_never_ended_but_not_one_that_still_may() -> None:
    history = increments("invoke")
    assert outcomes(history, 2.0, until=12.0) == []
    assert texts(outcomes(history, 2.0, until=20.0)) == [
        "I8 a: increment c/1 has not ended after 10.0 s, its deadline was 2.0 s"
    ]


def test_i8_rejects_a_refusal_of_a_call_that_ran() -> None:
    found = outcomes(increments("fail"), 9.0, [Execution("c", 1)])
    assert texts(found) == ["I8 a: increment c/1 ended with E as not executed, and was executed"]


def test_i8_rejects_a_call_that_ran_twice_and_a_result_of_one_that_never_ran() -> None:
    kinds: tuple[Kind, ...] = ("ok", "unknown", "invoke")
    for kind in kinds:
        history = increments(kind)
        assert "executed 2 times" in texts(outcomes(history, 9.0, [Execution("c", 1)] * 2))[0]
    assert texts(outcomes(increments("ok"), 9.0, [])) == ["I8 a: increment c/1 returned, and was not executed"]
