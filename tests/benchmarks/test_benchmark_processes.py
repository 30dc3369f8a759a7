"""The protocol between the harness and a contestant's process, with contestants of three lines."""

import os
import sys

import pytest

from benchmarks.processes import ROOT, ContestantFailed, worker

pytestmark = pytest.mark.processes

SAYS_READY = "import json, sys; print(json.dumps({'ready': None}), flush=True); "


def script(code):
    return [sys.executable, "-c", code]


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.processes.ROOT", tmp_path)
    return tmp_path / "contestant.log"


async def test_an_order_is_answered_and_the_process_ends_with_its_input(log):
    answers = SAYS_READY + "[print(json.dumps({'value': json.loads(line)['n']}), flush=True) for line in sys.stdin]"
    async with worker(script(answers), log) as running:
        assert running.introduction == {"ready": None}
        assert await running.ask({"n": 7}) == {"value": 7}
        assert running.processor_seconds() is None or running.processor_seconds() >= 0
        process = running.process
    assert process.returncode == 0


async def test_a_contestant_that_cannot_start_is_named_with_its_log(log):
    with pytest.raises(ContestantFailed, match=r"its process ended; see contestant.log"):
        async with worker(script("raise SystemExit('no such package')"), log):
            pass
    assert "no such package" in log.read_text()


async def test_a_contestant_that_ends_half_way_is_noticed(log):
    with pytest.raises(ContestantFailed, match="its process ended"):
        async with worker(script(SAYS_READY + "sys.stdin.readline()"), log) as running:
            await running.ask({})


async def test_an_error_of_a_measurement_is_reported(log):
    fails = SAYS_READY + "sys.stdin.readline(); print(json.dumps({'error': 'KeyError: 1'}), flush=True)"
    with pytest.raises(ContestantFailed, match="KeyError: 1"):
        async with worker(script(fails), log) as running:
            await running.ask({})


async def test_a_silent_contestant_is_given_up(log, monkeypatch):
    monkeypatch.setattr("benchmarks.processes.START_SECONDS", 0.01)
    with pytest.raises(ContestantFailed, match=r"no answer within 0.01 s"):
        async with worker(script("import sys; sys.stdin.read()"), log):
            pass


def test_contestants_run_from_the_root_of_the_repository():
    assert os.path.exists(ROOT / "benchmarks" / "processes.py")
