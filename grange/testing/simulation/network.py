"""The network of a simulation: the lines between processes, with their present faults.

Connections are ordered streams, as over TCP. Their content may be delayed, held by a cut, or lost with the connection.
Single messages are lost or repeated only with the probabilities in `Line`. Only requests to system services are
repeated, because these must be idempotent. A firewall may reject the packets of one direction: it answers them with
resets in the name of their target. ADR 0048 gives the reasons for the faults.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import msgspec

from grange.errors import ConfigurationError, ConnectionLost
from grange.proto.message import Message, Request
from grange.runtime.system_target import SYSTEM_TYPE
from grange.security.certificate import Certificate
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.transport.arrivals import Arrivals
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection

KEEPALIVE_TIMEOUT = 6.0
"""Seconds without an answer after which an end regards its connection as lost: keepalive_time + keepalive_timeout of
TransportOptions (2 s + 4 s)."""

KEEPALIVE_TIME = 2.0
"""Seconds after which an idle end sends something, as keepalive does: keepalive_time of TransportOptions."""


class Answer(Enum):
    """What comes back when a connection is requested."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """A reset: of the machine, because no process listens there, or of a firewall."""
    NONE = "none"


class Line(msgspec.Struct):
    """The state of the line from one process to another. Delays are in seconds, probabilities between 0 and 1."""

    cut: bool = False
    rejected: bool = False
    delay: float = 0.0
    loss: float = 0.0
    repeat: float = 0.0


class ConnectionEnd(Protocol):
    """One end of a connection: the part that the network uses."""

    @property
    def process(self) -> Process:
        """The process at this end."""
        ...

    @property
    def far(self) -> Process:
        """The process at the other end."""
        ...

    @property
    def accepting(self) -> bool:
        """Whether this end accepted the connection. Its other end opened it."""
        ...

    def on_repaired(self) -> None:
        """Complete held arrivals, also when their sender has ended: the line to this end is repaired."""
        ...

    def on_rejected(self) -> None:
        """The line from this end is rejected: nothing arrives any more, and a firewall resets this end."""
        ...

    def on_keepalive(self) -> None:
        """Find out whether the other end has ended without a signal that could reach this end."""
        ...

    def reset_both(self) -> None:
        """Have both ends reset, by something between them."""
        ...

    def on_lost(self, error: Exception) -> None:
        """End this end, because the connection is lost."""
        ...


@dataclass(eq=False)
class SimulatedListener:
    """One open port: its address, its process, its callbacks, and the connections accepted on it."""

    network: SimulatedNetwork
    process: Process
    host: str
    port: int
    admit: Admit
    accept: Accept
    options: TransportOptions
    accepted: list[Connection] = field(default_factory=list)

    @property
    def arrivals(self) -> Arrivals:
        """See `provider.Listener`: connections in a simulation take nothing that must be limited."""
        return Arrivals(self.options)

    def add(self, connection: Connection) -> None:
        """Add one accepted connection, and remove those that have ended."""
        self.accepted = [other for other in self.accepted if not other.closed]
        self.accepted.append(connection)

    def answer_health(self, is_serving: Callable[[], bool], admits: Callable[[Certificate | None], bool]) -> None:
        """See `provider.Listener`: there is no standard for it here."""

    async def close(self) -> None:
        """Close the port and every connection accepted on it."""
        self.network.unbind(self)
        await asyncio.gather(*(connection.close() for connection in self.accepted))


class SimulatedNetwork:
    """All lines between the processes of a simulation. Calls `on_sent` with each message that leaves a process."""

    def __init__(self, loop: SimulatedLoop, rng: random.Random, on_sent: Callable[[str, str, Message], None]) -> None:
        self.loop = loop
        self.rng = rng
        self.on_sent = on_sent
        self.latency = 0.0005
        self.jitter = 0.002
        self._lines: dict[tuple[str, str], Line] = {}  # by place: a fault of the network outlives a process
        self._listeners: dict[tuple[str, int], SimulatedListener] = {}
        self._owners: dict[tuple[str, int], Process] = {}  # the last process at each address, also after its end
        self._ends: dict[ConnectionEnd, None] = {}  # in order of creation, unlike a set

    # -- faults --

    def line(self, source: Process, target: Process) -> Line:
        """The line from one machine to another, for all processes there.

        Change its rates directly, but call `cut`, `reject` and `heal` for the rest.
        """
        return self._lines.setdefault((source.place, target.place), Line())

    def cut(self, source: Process, target: Process) -> None:
        """Hold all messages from `source` to `target` until `heal`; connections break after KEEPALIVE_TIMEOUT."""
        self.line(source, target).cut = True
        with self.loop.within(self.loop.harness):
            self.loop.call_later(KEEPALIVE_TIMEOUT, self._break_if_cut, source, target)

    def reject(self, source: Process, target: Process) -> None:
        """Have a firewall answer everything from `source` to `target` with resets until `heal`, as if it were `target`.

        The other direction passes. So `source` finds its connections reset, and new ones refused, as soon as it sends
        anything. `target` hears nothing more: its ends break after KEEPALIVE_TIMEOUT, its new connections time out.
        """
        self.line(source, target).rejected = True
        with self.loop.within(self.loop.harness):
            self.loop.call_later(self.rng.random() * KEEPALIVE_TIME, self._send_keepalives, source, target)
            self.loop.call_later(KEEPALIVE_TIMEOUT, self._break_if_rejected, source, target)

    def connections(self) -> list[ConnectionEnd]:
        """The opening ends of all open connections, in the order in which they were opened."""
        return [end for end in self._ends if not end.accepting]

    def heal(self) -> None:
        """Repair every line. An end whose other end is gone notices that by its next keepalive."""
        lines, self._lines = self._lines, {}
        for end in list(self._ends):
            line = lines.get((end.far.place, end.process.place))
            if line is not None and line.cut:
                end.on_repaired()
            if line is not None and (line.cut or line.rejected):
                with self.loop.within(end.process):
                    self.loop.call_later(self.rng.random() * KEEPALIVE_TIME, end.on_keepalive)

    def on_paused(self, process: Process) -> None:
        """Break the connections of a process if it stays paused for KEEPALIVE_TIMEOUT seconds."""
        with self.loop.within(self.loop.harness):
            self.loop.call_later(KEEPALIVE_TIMEOUT, self._break_if_paused, process)

    def on_process_end(self, process: Process) -> None:
        """Close the ports and reset the connections of a process that ended, as its machine does.

        A reset does not cross a line that is cut or rejected.
        """
        for address in [address for address, listener in self._listeners.items() if listener.process is process]:
            del self._listeners[address]
        for end in [end for end in self._ends if end.process is process or end.far is process]:
            if end.process is process:
                end.on_lost(ConnectionLost(f"{process.name} was killed"))
            elif self.passes(process, end.process):
                self.later(end.far, end.process, end.on_lost, ConnectionLost(f"{process.name} broke the connection"))

    # -- for transports --

    def is_cut(self, source: Process, target: Process) -> bool:
        """Whether the line from `source` to `target` is cut."""
        line = self._lines.get((source.place, target.place))
        return line is not None and line.cut

    def is_rejected(self, source: Process, target: Process) -> bool:
        """Whether a firewall answers in the place of `target` what `source` sends to it."""
        line = self._lines.get((source.place, target.place))
        return line is not None and line.rejected

    def passes(self, source: Process, target: Process) -> bool:
        """Whether what `source` sends arrives at `target`."""
        line = self._lines.get((source.place, target.place))
        return line is None or not (line.cut or line.rejected)

    def answer(self, source: Process, host: str, port: int) -> Answer:
        """What comes back when `source` requests a connection. The machine of a paused process accepts it."""
        address = (host, port)
        owner = self._owners.get(address)
        if owner is not None:
            if self.is_cut(source, owner) or self.is_cut(owner, source):
                return Answer.NONE
            if self.is_rejected(source, owner):
                return Answer.REFUSED
            if self.is_rejected(owner, source):
                return Answer.NONE  # the answer itself is rejected
        return Answer.ACCEPTED if address in self._listeners else Answer.REFUSED

    def round_trip(self, source: Process, host: str, port: int) -> float:
        """Draw the delay of a question to this address and its answer, in seconds."""
        there = self._owners.get((host, port), source)
        return self.delay(source, there) + self.delay(there, source)

    def delay(self, source: Process, target: Process) -> float:
        """Draw the delay of the next arrival on this line, in seconds."""
        line = self._lines.get((source.place, target.place))
        return self.latency + self.rng.random() * (self.jitter + (line.delay if line is not None else 0.0))

    def copies(self, source: Process, target: Process, message: Message) -> int:
        """Draw how many copies of a message arrive."""
        self.on_sent(source.name, target.name, message)
        line = self._lines.get((source.place, target.place))
        if line is None or not (line.loss or line.repeat):
            return 1
        fate = self.rng.random()
        if fate < line.loss:
            return 0
        return 2 if fate > 1 - line.repeat and _may_be_repeated(message) else 1

    def later(self, source: Process, target: Process, callback: Callable[..., None], *args: object) -> None:
        """Call back in the `target` process after the delay of the line from `source`."""
        with self.loop.within(target):
            self.loop.call_later(self.delay(source, target), callback, *args)

    def bind(self, listener: SimulatedListener) -> None:
        """Open the listener's port. Raises ConfigurationError when the port is in use."""
        address = (listener.host, listener.port)
        if address in self._listeners:
            raise ConfigurationError(f"cannot listen on {listener.host}:{listener.port}: the address is in use")
        self._listeners[address] = listener
        self._owners[address] = listener.process

    def unbind(self, listener: SimulatedListener) -> None:
        """Close the listener's port; connections accepted on it stay."""
        if self._listeners.get((listener.host, listener.port)) is listener:
            del self._listeners[listener.host, listener.port]

    def listener(self, host: str, port: int) -> SimulatedListener | None:
        """The listener at this address."""
        return self._listeners.get((host, port))

    def register(self, end: ConnectionEnd) -> None:
        """Register one end of a connection."""
        self._ends[end] = None

    def unregister(self, end: ConnectionEnd) -> None:
        """Remove an end that has ended."""
        self._ends.pop(end, None)

    # -- inside --

    def _break_if_cut(self, source: Process, target: Process) -> None:
        if self.is_cut(source, target):
            self._break(source, target)

    def _send_keepalives(self, source: Process, target: Process) -> None:
        if self.is_rejected(source, target):
            for end in list(self._ends):
                if (end.process.place, end.far.place) == (source.place, target.place):
                    end.on_rejected()

    def _break_if_rejected(self, source: Process, target: Process) -> None:
        if self.is_rejected(source, target):
            self._break(source, target)

    def _break_if_paused(self, process: Process) -> None:
        if process.paused and process.alive:
            for end in list(self._ends):
                if process in (end.process, end.far):
                    self._break(end.process, end.far)

    def _break(self, one: Process, other: Process) -> None:
        for end in list(self._ends):
            if {end.process.place, end.far.place} == {one.place, other.place}:
                with self.loop.within(end.process):
                    error = ConnectionLost(f"no answer from {end.far.name} to {end.process.name}: keepalive timed out")
                    self.loop.call_later(self.rng.random(), end.on_lost, error)


def _may_be_repeated(message: Message) -> bool:
    return isinstance(message, Request) and message.grain_id.type == SYSTEM_TYPE
