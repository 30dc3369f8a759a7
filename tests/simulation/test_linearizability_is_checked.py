"""I3: linearisable histories are accepted, planted bugs are rejected, and unknown outcomes may go either way."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grange.testing.checks.history import Event, Violation
from grange.testing.checks.linearizable import MAX_CALLS_PER_KEY, linearizable
from grange.testing.checks.models import counter, register

Call = tuple[str, Any, float, float | None, Any]
"""op, argument, made, ended (None: unknown), result."""

NEVER = None


def history(*calls: Call, key: str = "k") -> list[Event]:
    events: list[Event] = []
    for number, (op, argument, made, ended, result) in enumerate(calls, 1):
        client = f"c{number}"
        events.append(Event(made, client, 1, "invoke", op, key, argument))
        if ended is not None:
            events.append(Event(ended, client, 1, "ok", op, key, result))
    return sorted(events, key=lambda event: event.t)


def check_register(*calls: Call) -> list[Violation]:
    return linearizable(history(*calls), register, None, ["read", "write", "cas"])


def check_counter(*calls: Call) -> list[Violation]:
    return linearizable(history(*calls), counter, 0, ["read", "increment"])


def test_reads_that_overlap_a_write_may_see_either() -> None:
    write: Call = ("write", 1, 0, 10, None)
    assert check_register(write, ("read", None, 1, 2, None), ("read", None, 3, 4, 1)) == []


def test_an_unknown_write_may_take_effect_at_any_later_time_or_never() -> None:
    lost: Call = ("write", 1, 0, NEVER, None)
    assert check_register(lost, ("read", None, 5, 6, None), ("read", None, 7, 8, 1)) == []
    assert check_register(lost, ("read", None, 5, 6, None), ("read", None, 7, 8, None)) == []


def test_a_call_that_failed_did_not_happen() -> None:
    events = [
        Event(0, "c", 1, "invoke", "increment", "k"),
        Event(1, "c", 1, "fail", "increment", "k"),
        Event(2, "c", 2, "invoke", "read", "k"),
        Event(3, "c", 2, "ok", "read", "k", 0),
    ]
    assert linearizable(events, counter, 0, ["read", "increment"]) == []
    applied = [*events[:3], Event(3, "c", 2, "ok", "read", "k", 1)]
    assert len(linearizable(applied, counter, 0, ["read", "increment"])) == 1


def test_a_failed_swap_must_have_found_another_value() -> None:
    assert check_register(("write", 1, 0, 1, None), ("cas", [2, 3], 2, 3, False), ("read", None, 4, 5, 1)) == []
    assert check_register(("write", 1, 0, 1, None), ("cas", [1, 3], 2, 3, True), ("read", None, 4, 5, 3)) == []


REGISTER_BUGS: dict[str, tuple[Call, ...]] = {
    "a stale read": (("write", 1, 0, 1, None), ("write", 2, 2, 3, None), ("read", None, 4, 5, 1)),
    "a lost write": (("write", 1, 0, 1, None), ("read", None, 2, 3, None)),
    "a value that was never written": (("write", 1, 0, 1, None), ("read", None, 2, 3, 9)),
    "two swaps from one value": (
        ("write", 1, 0, 1, None), ("cas", [1, 2], 2, 6, True), ("cas", [1, 3], 2, 6, True),
    ),
    "a failed swap that changed the value": (
        ("write", 1, 0, 1, None), ("cas", [1, 2], 2, 3, False), ("read", None, 4, 5, 2),
    ),
    "two readers that disagree on the order": (
        ("write", 1, 0, 20, None), ("write", 2, 0, 20, None),
        ("read", None, 1, 2, 1), ("read", None, 3, 4, 2), ("read", None, 5, 6, 1),
    ),
    "an unknown write that came and went": (
        ("write", 1, 0, 1, None), ("write", 2, 2, NEVER, None), ("read", None, 3, 4, 2), ("read", None, 5, 6, 1),
    ),
}  # fmt: skip
COUNTER_BUGS: dict[str, tuple[Call, ...]] = {
    "one number given out twice": (("increment", None, 0, 5, 1), ("increment", None, 0, 5, 1)),
    "an increment made twice": (("increment", None, 0, 1, 1), ("read", None, 2, 3, 2)),
    "an increment overwritten": (
        ("increment", None, 0, 1, 1), ("increment", None, 2, 3, 2), ("read", None, 4, 5, 1),
    ),
    "more than was ever requested": (
        ("increment", None, 0, NEVER, None), ("increment", None, 0, NEVER, None), ("read", None, 4, 5, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", REGISTER_BUGS)
def test_a_register_with_a_planted_bug_is_rejected(bug: str) -> None:
    assert [found.invariant for found in check_register(*REGISTER_BUGS[bug])] == ["I3"]


@pytest.mark.parametrize("bug", COUNTER_BUGS)
def test_a_counter_with_a_planted_bug_is_rejected(bug: str) -> None:
    assert [found.invariant for found in check_counter(*COUNTER_BUGS[bug])] == ["I3"]


def test_the_violation_names_the_answer_and_the_possible_ones() -> None:
    found = check_register(("write", 1, 0, 1, None), ("read", None, 2, 3, 9))
    assert str(found[0]) == "I3 k: read of 2.000..3.000 s answered 9; possible: 1"


def test_each_key_is_checked_by_itself() -> None:
    good = history(("increment", None, 0, 1, 1), key="a")
    bad = [Event(each.t, each.client + "b", 1, each.kind, each.op, "b", 7) for each in good]
    bad = [each if each.kind == "ok" else Event(each.t, each.client, 1, "invoke", each.op, "b") for each in bad]
    assert [found.key for found in linearizable([*good, *bad], counter, 0, ["increment"])] == ["b"]


def run_of_a_real_register(seed: int, calls: int, clients: int, unknown: float) -> list[Event]:
    """Calls of several clients; each takes effect at one moment between its beginning and its end."""
    rng = random.Random(seed)
    pending: list[tuple[float, str, int, str, Any, float]] = []
    free = [0.0] * clients
    for number in range(calls):
        client = rng.randrange(clients)
        made = free[client] + rng.random()
        ended = made + rng.random() * 5
        free[client] = ended
        op = rng.choice(["read", "write", "cas"])
        argument = {"read": None, "write": rng.randrange(4), "cas": [rng.randrange(4), rng.randrange(4)]}[op]
        pending.append((made + rng.random() * (ended - made), f"c{client}", number, op, argument, ended - made))
        pending[-1] = (*pending[-1][:5], ended)
        pending[-1] = (pending[-1][0], f"c{client}", number, op, [argument, made], ended)
    events: list[Event] = []
    state: Any = None
    for moment, client, number, op, (argument, made), ended in sorted(pending, key=lambda each: each[0]):
        if rng.random() < unknown:
            happens = rng.random() < 0.5
            ending = Event(ended, client, number, "unknown", op, "k", None, "CallTimeout")
        else:
            happens, ending = True, None
        _, after = register(state, op, tuple(argument) if isinstance(argument, list) else argument, None, False)
        answer = {"read": state, "write": None, "cas": op == "cas" and state == argument[0]}[op]
        state = after if happens else state
        events.append(Event(made, client, number, "invoke", op, "k", argument))
        events.append(ending or Event(ended, client, number, "ok", op, "k", answer))
        assert made <= moment <= ended
    return sorted(events, key=lambda event: event.t)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 5), st.floats(0, 0.5))
@settings(max_examples=150, deadline=None)
def test_every_answer_of_a_real_register_is_accepted(seed: int, calls: int, clients: int, unknown: float) -> None:
    events = run_of_a_real_register(seed, calls, clients, unknown)
    assert linearizable(events, register, None, ["read", "write", "cas"]) == []


@given(st.integers(0, 2**32), st.integers(5, 60), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_an_answer_that_was_never_written_is_rejected_at_any_position(seed: int, calls: int, clients: int) -> None:
    events = run_of_a_real_register(seed, calls, clients, 0.2)
    reads = [n for n, each in enumerate(events) if each.kind == "ok" and each.op == "read"]
    if not reads:
        return
    n = reads[seed % len(reads)]
    wrong = Event(events[n].t, events[n].client, events[n].call, "ok", "read", "k", 99)
    events[n] = wrong
    assert len(linearizable(events, register, None, ["read", "write", "cas"])) == 1


def test_two_thousand_calls_with_many_unknown_outcomes_can_be_searched() -> None:
    events = run_of_a_real_register(7, 2_000, 6, 0.1)
    assert linearizable(events, register, None, ["read", "write", "cas"]) == []


def test_a_history_that_is_too_long_is_refused() -> None:
    events = run_of_a_real_register(7, MAX_CALLS_PER_KEY + 1, 2, 0.0)
    with pytest.raises(ValueError, match="5001 calls of k: at most 5000"):
        linearizable(events, register, None, ["read", "write", "cas"])
