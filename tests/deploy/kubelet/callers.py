"""The test's side of `load.py`: the process in the cluster's network, its questions and answers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tests.processes.faults.network import HUB, Namespaces
from tests.processes.silo_process import ROOT

LIMIT = 120.0
"""Time limit in seconds of an answer; only a defect takes so long."""


class Callers:
    """Asks the process, one question at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def ask(self, **question: Any) -> dict[str, Any]:
        async with self._turn:
            return await self._exchange(question)

    async def end(self) -> dict[str, Any]:
        """End its calls; returns its last line."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await self._line()

    async def _exchange(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return await self._line()

    async def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT):
            line = await self._process.stdout.readline()
        assert line, "the callers' process has ended; its errors are above"
        return json.loads(line)


@asynccontextmanager
async def callers(network: Namespaces, gateway: str, cluster: str) -> AsyncGenerator[Callers]:
    """Run the process; it is connected when the block begins, and killed when the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(*network.enter(HUB), sys.executable, "-m", "tests.deploy.kubelet.load"),
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        made = Callers(process)
        await made.ask(gateway=gateway, cluster=cluster)
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
