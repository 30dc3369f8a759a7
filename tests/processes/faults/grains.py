"""The silo under fault tests: `grange run tests.processes.faults.grains:silo`.

Every turn writes a line into a file of its process (`TURNS` names the folder) before and after its work. So a test sees
also turns whose caller got no answer: those of a silo that was cut off, or stopped and continued. Files do not depend
on the network.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from grange import Grain, PersistentState, StorageUnavailable, clock, read_only
from grange.silo import Silo

TURNS = "FAULTS_TURNS"
CLOCK = "FAULTS_CLOCK"
"""Names a file with the error of this process's wall clock in seconds; without the file the clock is right."""

NAME = "FAULTS_SILO"


def let_the_clock_be_set(path: Path) -> None:
    """Have the file at `path` set what this process takes for the date: no test may set the machine's clock."""
    right_now, right_generation = clock.utc_now, clock.start_generation

    def error() -> float:
        return float(path.read_text()) if path.exists() else 0.0

    clock.utc_now = lambda: right_now() + timedelta(seconds=error())
    clock.start_generation = lambda: right_generation() + int(error() * 1000)


class TurnLog:
    """Writes a line for begin and end of a turn, before the turn goes on. Without a folder it writes nothing."""

    def __init__(self, folder: str | None) -> None:
        self.silo = f"{os.environ.get(NAME, 'silo')}#{os.getpid()}"
        self._file: int | None = None
        if folder is not None:
            path = Path(folder) / f"{self.silo}.jsonl"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, grain: Grain[str], call: str) -> None:
        if self._file is not None:
            facts = [what, time.monotonic(), str(grain.id), grain.activation_id, call]
            os.write(self._file, json.dumps(facts).encode() + b"\n")

    @contextmanager
    def turn(self, grain: Grain[str], call: str) -> Generator[None]:
        self.write("begin", grain, call)
        try:
            yield
        finally:
            self.write("end", grain, call)


turns = TurnLog(os.environ.get(TURNS))
if CLOCK in os.environ:
    let_the_clock_be_set(Path(os.environ[CLOCK]))


@dataclass
class Total:
    """A counter's state, with the silo and activation that wrote it."""

    total: int = 0
    silo: str = ""
    activation: str = ""


@dataclass
class Content:
    """A register's state, with the silo and activation that wrote it."""

    content: int = 0
    silo: str = ""
    activation: str = ""


class Counter(Grain[str], name="counter"):
    """Counts, and answers when the count is stored."""

    def __init__(self, state: PersistentState[Total]) -> None:
        self.state = state

    async def add(self, call: str) -> int:
        with turns.turn(self, call):
            sign(self, self.state)
            self.state.value.total += 1
            await self.state.write()
            return self.state.value.total

    @read_only
    async def total(self, call: str) -> int:
        with turns.turn(self, call):
            return self.state.value.total


class Register(Grain[str], name="register"):
    """One value; a reader gets only a value that is certainly stored."""

    def __init__(self, state: PersistentState[Content]) -> None:
        self.state = state
        self._doubt = False

    async def put(self, call: str, content: int) -> None:
        with turns.turn(self, call):
            await self._settle()
            sign(self, self.state)
            self.state.value.content = content
            self._doubt = True
            await self.state.write()
            self._doubt = False

    async def get(self, call: str) -> int:
        with turns.turn(self, call):
            await self._settle()
            return self.state.value.content

    async def _settle(self) -> None:
        """After a write with an unknown outcome, read the stored value."""
        if self._doubt:
            await self.state.read()
            self._doubt = False


class Echo(Grain[str], name="echo"):
    """A grain without state; it needs no store."""

    async def say(self, call: str) -> str:
        with turns.turn(self, call):
            return call

    async def pid(self) -> int:
        return os.getpid()


def sign(grain: Grain[str], state: PersistentState[Any]) -> None:
    """Put the silo and activation of the next write into the state; the audit table of a test copies them."""
    state.value.silo, state.value.activation = turns.silo, grain.activation_id


silo = Silo(grains=[Counter, Register, Echo], errors=[StorageUnavailable])
