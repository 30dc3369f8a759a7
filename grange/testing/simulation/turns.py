"""The turns that the grains of a simulation ran: the evidence of its checks."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import msgspec

from grange.grains.caller import subject_of_turn
from grange.testing.checks.outcomes import Execution
from grange.testing.checks.writers import Turn
from grange.testing.simulation.event_log import EventLog
from grange.testing.simulation.loop import Process


class Note(msgspec.Struct, frozen=True):
    """What the code of a grain noted at the time `t` of the simulation, for the checks of its workload."""

    t: float
    kind: str
    key: str
    value: Any


class CalledBy(msgspec.Struct, frozen=True):
    """For whom a turn ran: the client whose call it is, and the subject that `caller()` gave."""

    grain: str
    client: str
    subject: str


class TurnLog:
    """The turns that the grains of one simulation ran."""

    def __init__(self, event_log: EventLog) -> None:
        self.event_log = event_log
        self.executed: list[Execution] = []
        self.turns: list[Turn] = []
        self.notes: list[Note] = []
        self.callers: list[CalledBy] = []
        self._activations = 0

    def next_activation(self) -> int:
        """Return the number of a new activation."""
        self._activations += 1
        return self._activations


class SiloTurnLog:
    """Records the turns of one silo, until its process is killed. A service of the grains of every workload."""

    def __init__(self, turn_log: TurnLog, process: Process) -> None:
        self._turn_log = turn_log
        self._process = process

    def activation(self) -> str:
        """Return the name of a new activation."""
        return f"{self._process.name}/{self._turn_log.next_activation()}"

    def note(self, kind: str, key: str, value: Any) -> None:
        """Note that something happened to this grain, here and in the event log."""
        if self._process.alive:
            log = self._turn_log
            log.notes.append(Note(log.event_log.now(), kind, key, value))
            log.event_log.record(kind, f"{key} {value}")

    @contextmanager
    def turn(self, grain: str, activation: str, client: str, call: int) -> Generator[None]:
        """Record the turn in this block: its call, its caller, its beginning and its end."""
        began = self._turn_log.event_log.now()
        if self._process.alive:
            self._turn_log.executed.append(Execution(client, call))
            self._turn_log.callers.append(CalledBy(grain, client, subject_of_turn()))
        try:
            yield
        finally:
            if self._process.alive:
                self._turn_log.turns.append(Turn(began, self._turn_log.event_log.now(), grain, activation))
