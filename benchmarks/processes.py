"""The harness's side of a contestant's process: start it, send orders line by line, stop it by its process id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
ANSWER_SECONDS = 60.0
STOP_SECONDS = 10.0
_LINE = 1 << 24


class ContestantFailed(Exception):
    """A contestant's process did not start, did not answer in time, ended, or reported a failure."""


class MeasurementFailed(ContestantFailed):
    """A contestant reported an error; its process still runs."""


class Worker:
    """One running process. `introduction` is its first line: address, Python, event loop, versions."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log
        self.introduction: dict[str, Any] = {}

    def processor_seconds(self) -> float:
        """Return the processor time that the process has used so far, all threads; 0.0 if it is unknown."""
        try:
            return time.clock_gettime(_clock_of(self.process.pid))
        except (OSError, AttributeError):  # another system than Linux
            return 0.0

    async def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send one order and return the sample. Raises ContestantFailed."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            await self.process.stdin.drain()
        except ConnectionError as error:
            raise self._failed("its process ended") from error
        return await self.receive(ANSWER_SECONDS)

    async def receive(self, seconds: float) -> dict[str, Any]:
        """Return the next line of the process. Raises ContestantFailed when none comes within `seconds`."""
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), seconds)
        except TimeoutError:
            raise self._failed(f"no answer within {seconds:g} s") from None
        if not line:
            raise self._failed("its process ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise MeasurementFailed(answer["error"])
        return answer

    def _failed(self, what: str) -> ContestantFailed:
        log = self._log.relative_to(ROOT) if self._log.is_relative_to(ROOT) else self._log
        return ContestantFailed(f"{what}; see {log}")

    async def stop(self) -> None:
        """End the process: by the end of its input, else by signals."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        for end in (lambda: None, self.process.terminate, self.process.kill):
            with contextlib.suppress(ProcessLookupError):
                end()
            try:
                await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
            except TimeoutError:
                continue
            return


@asynccontextmanager
async def worker(command: Sequence[str], log: Path, root: Path | None = None) -> AsyncIterator[Worker]:
    """Start a process in the folder `root`, with its standard error in `log`; it is gone when the block ends.

    `root` is the tree whose code it runs: this one, unless another is given. Raises ContestantFailed when it does not
    introduce itself.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors:
        process = await _start(command, errors, root or ROOT)
        running = Worker(process, log)
        try:
            running.introduction = await running.receive(START_SECONDS)
            yield running
        finally:
            await running.stop()


async def _start(command: Sequence[str], errors: IO[bytes], root: Path) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=errors, cwd=root, env=environment, limit=_LINE
    )


def _clock_of(pid: int) -> int:
    """Return the number that Linux gives to the processor-time clock of another process."""
    return (~pid << 3) | 2
