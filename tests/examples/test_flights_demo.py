"""The demo as users start it: real processes, a real kill, and a correct exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.flights.check import totals_of
from examples.flights.queries import minutes_late
from tests.examples.departures import first_of_january

ROOT = Path(__file__).parents[2]
FLIGHTS = 600
TIMEOUT = 100


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder in which the demo creates its temporary folder. Tests check that nothing remains there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def demo(tmp_path: Path, temporary: Path) -> Iterator[object]:
    """Starts the demo on the first flights of January, with further options. Kills it after the test."""
    path = first_of_january(tmp_path, FLIGHTS)
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.flights", "--file", str(path), *options],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.processes
def test_nothing_is_lost_or_doubled_when_a_silo_is_killed(demo, temporary: Path, tmp_path: Path) -> None:
    output, errors = (process := demo("--json")).communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    figures = json.loads(output)
    assert (figures["flights"], figures["lost"], figures["doubled"], figures["differences"]) == (FLIGHTS, 0, 0, [])
    expected = totals_of(first_of_january(tmp_path, FLIGHTS))
    assert figures["airports_with_reminder"] == len(expected["airport"])
    late = minutes_late(expected)
    assert [late[code] for code in figures["worst_airports"]] == sorted(late.values(), reverse=True)[:10]
    assert figures["recovery_seconds"] > 0
    assert figures["totals_compared"] > 10_000
    assert list(temporary.iterdir()) == []


@pytest.mark.processes
def test_nothing_is_lost_or_doubled_on_redis_and_postgres(demo, redis_url: str, postgres_url: str) -> None:
    process = demo("--redis", redis_url, "--postgres", postgres_url, "--in-flight", "64")
    output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    assert "killed (SIGKILL" in output
    assert output.rstrip().endswith("0 lost, 0 doubled")


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_leaves_nothing_behind(demo, temporary: Path, number: int) -> None:
    process = demo("--silos", "2")
    line = ""
    while not line.startswith("active:"):
        assert process.poll() is None, process.stderr.read()
        line = process.stdout.readline()
    silos = [int(pid) for pid in re.findall(r"\(process (\d+)\)", line)]
    assert len(silos) == 2
    process.send_signal(number)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert [pid for pid in silos if _runs(pid)] == []
    assert list(temporary.iterdir()) == []


@pytest.mark.processes
def test_a_silo_that_cannot_start_fails_the_run_and_names_the_reason(demo, temporary: Path) -> None:
    process = demo("--redis", "redis://127.0.0.1:1/0")
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert "ended before it was active" in errors
    assert "127.0.0.1:1" in errors
    assert list(temporary.iterdir()) == []


@pytest.mark.processes
def test_a_run_over_its_time_limit_fails(demo, temporary: Path) -> None:
    process = demo("--limit", "1")
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert "not done within 1 s" in errors
    assert list(temporary.iterdir()) == []


@pytest.mark.processes
def test_a_grain_that_counts_wrong_fails_the_run(tmp_path: Path) -> None:
    """A copy of the example in which one flight counts twice."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    totals = tmp_path / "examples" / "flights" / "totals.py"
    right, wrong = "self.flights += 1\n", 'self.flights += 2 if flight.id == "20130101UA1545EWR" else 1\n'
    assert right in totals.read_text()
    totals.write_text(totals.read_text().replace(right, wrong))
    path = first_of_january(tmp_path, 200)
    command = [sys.executable, "-m", "examples.flights", "--file", str(path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert result.returncode == 1, result.stderr
    assert "DIFFERENT aircraft N14228, flights: " in result.stdout
    assert result.stdout.rstrip().endswith("0 lost, 4 doubled")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
