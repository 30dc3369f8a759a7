"""The times of a start are those of the process that starts. No test judges how long one takes."""

from __future__ import annotations

import pytest

from benchmarks import startup


def test_every_target_is_of_a_start() -> None:
    assert startup.TARGETS.keys() <= startup.STARTS.keys()


def test_a_program_is_timed_from_the_end_of_its_preparation() -> None:
    clock, processor = startup.program("assert prepared; ready()", "prepared = True")
    assert clock > 0
    assert processor > 0


def test_a_command_is_timed_to_its_end_or_to_a_line() -> None:
    assert all(seconds > 0 for seconds in startup.command("--help"))
    assert all(seconds > 0 for seconds in startup.command("--help", ready="Commands"))


def test_a_command_that_ends_before_it_is_ready_has_no_time() -> None:
    with pytest.raises(RuntimeError, match="grange --help ended before it was ready"):
        startup.command("--help", ready="no such line")


def test_each_start_is_measured_once_more_than_it_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(0.1, 0.1), (5.0, 2.0), (4.0, 3.0)])
    monkeypatch.setattr(startup, "STARTS", {"it": lambda: next(times)})
    assert startup.measure(rounds=2) == {"it": 4.0, "it, CPU": 2.0}
