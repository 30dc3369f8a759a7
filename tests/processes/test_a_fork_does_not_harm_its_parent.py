"""A forked child gets a clear error at once, and its parent is served as before: while the child lives, and after."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.processes.forking import ATTEMPTS
from tests.processes.silo_process import PATIENCE, ROOT

REFUSALS = {
    "client": "cannot run a client or silo: it was forked from process",
    "silo": "cannot run a client or silo: it was forked from process",
    "reference": "call to cart/a.f was not executed: this client belongs to process",
    "end-client": "this client belongs to process",
    "stop-silo": "this silo belongs to process",
}


@pytest.mark.parametrize("what", [*REFUSALS, "nothing"])
async def test_a_fork_does_not_harm_its_parent(what: str, tmp_path: Path) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.processes.forking", what),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(2 * PATIENCE):
            printed, logged = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    lines = [json.loads(line) for line in printed.splitlines()]
    assert len(lines) == ATTEMPTS, logged.decode()
    for line in lines:
        if what == "nothing":
            assert line["said"] == "answer nothing"
        else:
            assert line["said"].startswith("WrongLoop: "), line
            assert REFUSALS[what] in line["said"]
            assert "spawn or forkserver" in line["said"]
        assert (line["meanwhile"][1], line["after"]) == (0, [10, 0]), line
    assert program.returncode == 0, logged.decode()
