"""The network of a simulation: what lies between processes, and what is wrong with it at the moment.

Connections are ordered streams, as over TCP: what is in them is late, or held by a cut, or lost with the connection.
Single messages are lost or repeated only where `Line` says so, and repeated only when they are questions to system
services, which must be idempotent; ADR 0071 argues what a network may do.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

import msgspec

from grange.errors import ConfigurationError, ConnectionLost
from grange.proto.message import Message, Request
from grange.runtime.system_target import SYSTEM_TYPE
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit

KEEPALIVE = 6.0
"""Seconds without an answer after which an end of a connection gives it up; TransportOptions has it as 2 s + 4 s."""


class Line(msgspec.Struct):
    """The state of the line from one process to another. Delays are in seconds, chances between 0 and 1."""

    cut: bool = False
    delay: float = 0.0
    loss: float = 0.0
    repeat: float = 0.0


class End(Protocol):
    """One end of a connection, as the network sees it."""

    @property
    def process(self) -> Process:
        """Whose end it is."""
        ...

    @property
    def far(self) -> Process:
        """Whose the other end is."""
        ...

    def resume(self) -> None:
        """The line to here is good again: what was held arrives, also when who sent it has ended."""
        ...

    def lose(self, error: Exception) -> None:
        """This end notices that the connection is gone."""
        ...


class GatedListener(msgspec.Struct, eq=False):
    """One open port."""

    host: str
    port: int
    process: Process
    admit: Admit
    accept: Accept
    options: TransportOptions
    entered: list[End] = msgspec.field(default_factory=list)


class SimulatedNetwork:
    """Every line between the processes of a simulation. `sent` is called with each message that leaves a process."""

    def __init__(self, loop: SimulatedLoop, rng: random.Random, sent: Callable[[str, str, Message], None]) -> None:
        self.loop = loop
        self.rng = rng
        self.sent = sent
        self.latency = 0.0005
        self.jitter = 0.002
        self._lines: dict[tuple[Process, Process], Line] = {}
        self._doors: dict[tuple[str, int], GatedListener] = {}
        self._ends: dict[End, None] = {}  # in order of their making, unlike a set

    # -- faults --

    def line(self, source: Process, target: Process) -> Line:
        """The line from one process to another, to be changed at will; to cut or mend it call `cut` or `heal`."""
        return self._lines.setdefault((source, target), Line())

    def cut(self, source: Process, target: Process) -> None:
        """Nothing arrives from `source` at `target` until it is healed; their connections break after a while."""
        self.line(source, target).cut = True
        with self.loop.within(self.loop.outside):
            self.loop.call_later(KEEPALIVE, self._give_up, source, target)

    def heal(self) -> None:
        """Every line is good again."""
        lines, self._lines = self._lines, {}
        for end in list(self._ends):
            line = lines.get((end.far, end.process))
            if line is not None and line.cut:
                end.resume()

    def paused(self, process: Process) -> None:
        """A process stands still: who talks with it gives up after a while."""
        with self.loop.within(self.loop.outside):
            self.loop.call_later(KEEPALIVE, self._give_up_paused, process)

    def sever(self, process: Process) -> None:
        """A process died: its doors are closed by the machine it ran on, and its peers learn that."""
        for key in [key for key, door in self._doors.items() if door.process is process]:
            del self._doors[key]
        for end in [end for end in self._ends if end.process is process or end.far is process]:
            if end.process is process:
                end.lose(ConnectionLost(f"{process.name} was killed"))
            else:
                self.later(end.far, end.process, end.lose, ConnectionLost(f"{process.name} broke the connection"))

    # -- what transports do --

    def is_cut(self, source: Process, target: Process) -> bool:
        """Whether nothing gets through that way."""
        line = self._lines.get((source, target))
        return line is not None and line.cut

    def delay(self, source: Process, target: Process) -> float:
        """How long the next thing takes that way, in seconds."""
        line = self._lines.get((source, target))
        return self.latency + self.rng.random() * (self.jitter + (line.delay if line is not None else 0.0))

    def copies(self, source: Process, target: Process, message: Message) -> int:
        """How often a message arrives."""
        self.sent(source.name, target.name, message)
        line = self._lines.get((source, target))
        if line is None or not (line.loss or line.repeat):
            return 1
        fate = self.rng.random()
        if fate < line.loss:
            return 0
        return 2 if fate > 1 - line.repeat and _may_be_repeated(message) else 1

    def later(self, source: Process, target: Process, do: Callable[..., None], *what: object) -> None:
        """Do something in the `target` process, once it could have come from `source`."""
        with self.loop.within(target):
            self.loop.call_later(self.delay(source, target), do, *what)

    def open(self, door: GatedListener) -> None:
        """Raises ConfigurationError when the port is in use."""
        if (door.host, door.port) in self._doors:
            raise ConfigurationError(f"cannot listen on {door.host}:{door.port}: the address is in use")
        self._doors[door.host, door.port] = door

    def shut(self, door: GatedListener) -> None:
        """Nobody comes in any more; who is in stays."""
        if self._doors.get((door.host, door.port)) is door:
            del self._doors[door.host, door.port]

    def door(self, host: str, port: int) -> GatedListener | None:
        """Who listens there."""
        return self._doors.get((host, port))

    def plug(self, end: End) -> None:
        """One more end of a connection."""
        self._ends[end] = None

    def unplug(self, end: End) -> None:
        """It has ended."""
        self._ends.pop(end, None)

    # -- inside --

    def _give_up(self, source: Process, target: Process) -> None:
        if self.is_cut(source, target):
            self._break({source, target})

    def _give_up_paused(self, process: Process) -> None:
        if process.paused and process.alive:
            for end in list(self._ends):
                if process in (end.process, end.far):
                    self._break({end.process, end.far})

    def _break(self, pair: set[Process]) -> None:
        for end in list(self._ends):
            if {end.process, end.far} == pair:
                with self.loop.within(end.process):
                    error = ConnectionLost(f"no answer from {end.far.name} to {end.process.name}: keepalive gave up")
                    self.loop.call_later(self.rng.random(), end.lose, error)


def _may_be_repeated(message: Message) -> bool:
    return isinstance(message, Request) and message.grain_id.type == SYSTEM_TYPE
