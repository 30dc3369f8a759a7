"""A forked child gets a clear error at once, and its parent is served as before: while the child lives, and after."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

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


ENDS = {"main-exit": 9, "main-error": 1, "main-return": 1, "task-exit": 9, "task-error": 1, "grain-return": 1}
"""Where an `os.fork` happens and how its child ends, with the child's exit code."""


async def run_program(what: str, folder: Path, loop: str = "asyncio") -> tuple[list[Any], str]:
    """The lines that the program printed, and its standard error."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.processes.forking", what, loop),
        cwd=folder,
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
    assert program.returncode == 0, logged.decode()
    lines = [json.loads(line) for line in printed.splitlines()]
    assert len(lines) == ATTEMPTS, logged.decode()
    return lines, logged.decode()


@pytest.mark.parametrize("what", [*REFUSALS, "nothing"])
async def test_a_fork_does_not_harm_its_parent(what: str, tmp_path: Path) -> None:
    for line in (await run_program(what, tmp_path))[0]:
        if what == "nothing":
            assert line["said"] == "answer nothing"
        else:
            assert line["said"].startswith("WrongLoop: "), line
            assert REFUSALS[what] in line["said"]
            assert "spawn or forkserver" in line["said"]
        assert (line["meanwhile"][1], line["after"]) == (0, [10, 0]), line


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("what", ENDS)
async def test_a_child_that_leaves_by_the_parents_code_does_not_run_its_loop(
    what: str, loop: str, tmp_path: Path
) -> None:
    """`asyncio.run` cancelled the inherited tasks in the child, which ended the parent's silo and its epoll set."""
    lines, logged = await run_program(what, tmp_path, loop)
    code = ENDS[what] if loop == "asyncio" else 1
    for line in lines:
        assert line["said"] == f"exit code {code}", (line, logged)
        assert (line["meanwhile"][1], line["after"]) == (0, [10, 0]), line
    assert ("cannot run it; end such a child with os._exit" in logged) == (code == 1), logged
