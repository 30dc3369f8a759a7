"""A history holds every recorded event, in a list and in a file, also when the recorder was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from grange.errors import CallTimeout, InconsistentStateError, Overloaded
from grange.testing.checks.history import Event, Recorder, load, operations


def clock() -> float:
    return 1.5


def test_a_call_is_recorded_when_it_is_made_and_when_it_ends() -> None:
    recorder = Recorder(clock)
    recorder.ok(recorder.invoke("c1", "increment", "a", 2), 7)
    assert recorder.events == [
        Event(1.5, "c1", 1, "invoke", "increment", "a", 2),
        Event(1.5, "c1", 1, "ok", "increment", "a", 7),
    ]


def test_only_calls_that_certainly_did_not_run_count_as_failed() -> None:
    recorder = Recorder(clock)
    for error in (Overloaded("full"), CallTimeout("late"), InconsistentStateError("lost race"), RuntimeError("any")):
        recorder.failed(recorder.invoke("c", "read", "a"), error)
    ends = [(event.kind, event.error) for event in recorder.events if event.kind != "invoke"]
    assert ends == [
        ("fail", "Overloaded"),
        ("unknown", "CallTimeout"),
        ("unknown", "InconsistentStateError"),
        ("unknown", "RuntimeError"),
    ]


def test_a_file_holds_the_same_history_and_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with path.open("w") as file:
        recorder = Recorder(clock, file)
        recorder.ok(recorder.invoke("c1", "cas", "r", [1, 2]), True)
        recorder.invoke("c1", "read", "r")
        assert load(path) == recorder.events, "each line is there as soon as it is recorded"
        file.write('{"t":1.5,"cli')
    assert load(path) == recorder.events


def test_a_bad_line_in_the_middle_raises(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"t":1.5\n{"t":1.0,"client":"c","call":1,"kind":"invoke","op":"read","key":"a"}\n')
    with pytest.raises(ValueError, match="truncated"):
        load(path)


def test_calls_are_joined_with_their_endings() -> None:
    recorder = Recorder(clock)
    first, second = recorder.invoke("c1", "read", "a"), recorder.invoke("c2", "read", "a")
    recorder.ok(second, 1)
    found = list(operations(recorder.events))
    assert [(call.invoke, call.kind) for call in found] == [(first, "unknown"), (second, "ok")]


def test_an_ending_without_its_call_and_a_second_ending_are_refused() -> None:
    recorder = Recorder(clock)
    call = recorder.invoke("c1", "read", "a")
    recorder.ok(call, 1)
    with pytest.raises(ValueError, match="ended although it was not in progress"):
        list(operations(recorder.events[1:]))
    with pytest.raises(ValueError, match="ended although it was not in progress"):
        list(operations([*recorder.events, recorder.events[1]]))
    with pytest.raises(ValueError, match="made twice"):
        list(operations([call, call]))
