"""The accepted connections of a silo: one `Incoming` (`incoming.py`) for each.

An answer is sent on the connection of its request. `admission.py` decides which requests are refused, and which wait
until the peer has read answers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

import msgspec

from grange.aio.tasks import Tasks
from grange.errors import ConnectionLost
from grange.observability.counters import TrafficFigures
from grange.observability.spans import Spans
from grange.proto.acts import Asker
from grange.proto.faults import Faults
from grange.proto.ids import SiloAddress
from grange.runtime.calls.admission import Admission
from grange.runtime.calls.allowances import Allowance
from grange.runtime.calls.backlog import Backlog, Entry
from grange.runtime.calls.deps import AcceptsClients, InboundDeps
from grange.runtime.calls.incoming import Incoming
from grange.runtime.calls.wire_call import WireCall
from grange.runtime.system_target import SystemTargets
from grange.transport.provider import Connection

STALL_LIMIT = 10.0
"""Seconds without reading after which a peer's connection ends, if too many answers wait in the silo."""

STATUS_PERIOD = 1.0
"""Seconds between two rounds of status messages to the callers of slow requests."""

STATUS_LIMIT = 50
"""Most status messages sent in one round. Finding one request in a long queue takes 0.2 ms, and other work waits."""


class Inbound:
    """All accepted connections of one listener. `entry` (the catalog or a gateway) takes requests for grains.

    `traffic` counts their messages.
    """

    def __init__(
        self,
        entry: Entry,
        targets: SystemTargets,
        faults: Faults,
        tasks: Tasks,
        admission: Admission,
        spans: Spans | None = None,
    ) -> None:
        self.traffic = TrafficFigures()
        self._deps = InboundDeps(Backlog(entry), targets, faults, tasks, admission, self.traffic, spans)
        self._connected: dict[Incoming, None] = {}  # an ordered set: the order of goodbyes must be deterministic
        self._disconnected = asyncio.Event()
        self._disconnected.set()

    def call_clients(self, clients: AcceptsClients) -> None:
        """Send requests to the clients that connect from now on."""
        self._deps = msgspec.structs.replace(self._deps, clients=clients)

    def accept(self, connection: Connection) -> Incoming:
        """Make the receiver of a new connection (`transport.Accept`).

        Raises HandshakeRefused if its identity has too many connections.
        """
        asker = self._deps.targets.asker_of(connection)
        allowance = self._join(connection, asker)
        incoming = Incoming(self._deps, connection, self._remove, asker, allowance)
        self._connected[incoming] = None
        self._disconnected.clear()
        return incoming

    def _join(self, connection: Connection, asker: Asker) -> Allowance | None:
        """The allowance of the identity of a connection; None for a silo."""
        if asker.is_silo:
            return None
        name = connection.remote_address if asker.identity is None else asker.identity.subject
        return self._deps.admission.allowances.join(name, asyncio.get_running_loop().time())

    def last_received(self, silo: SiloAddress) -> float:
        """Loop time of the last frame on a connection that this silo opened; -inf if there was none."""
        return max(
            (incoming.connection.last_received for incoming in self._connected if incoming.opened_by(silo)),
            default=-math.inf,
        )

    def _remove(self, incoming: Incoming) -> None:
        """Remove a connection that has ended."""
        self._connected.pop(incoming, None)
        if not self._connected:
            self._disconnected.set()

    def request_from(self, silo: SiloAddress, number: int) -> WireCall | None:
        """The request that this silo sent with this id, once it was delivered and while it has no answer."""
        found = (incoming.request(number) for incoming in self._connected if incoming.opened_by(silo))
        return next((call for call in found if call is not None), None)

    @property
    def in_progress(self) -> int:
        """Requests for grains that have no answer yet."""
        return sum(incoming.in_progress for incoming in self._connected)

    @property
    def plain(self) -> int:
        """The open connections without TLS."""
        return sum(incoming.connection.certificate is None for incoming in self._connected)

    @property
    def connected(self) -> list[Incoming]:
        """The open connections, in the order in which they were accepted."""
        return list(self._connected)

    def end_stalled(self, now: float) -> None:
        """End the connections of peers that have read nothing for `STALL_LIMIT`, if too many answers wait."""
        for incoming in self.connected:
            if self._deps.admission.crowded and now - incoming.read_at >= STALL_LIMIT:
                incoming.connection.kill(ConnectionLost(f"the peer has not read its answers for {STALL_LIMIT:g} s"))

    async def drain(self) -> None:
        """Send a goodbye on all connections and wait until the peers close them. Requests must be refused already."""
        for incoming in self.connected:
            incoming.send_goodbye()
        await self._disconnected.wait()


async def report_statuses(sides: Sequence[Inbound], each_period: Callable[[], None]) -> None:
    """Send callers the status of requests that take long, for their time-out messages. Runs for the life of the silo.

    It also ends connections whose peers read nothing.

    It visits all connections once per `STATUS_PERIOD`, so that no request needs a timer for it. `each_period` is called
    as often.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(STATUS_PERIOD)
        each_period()
        left = STATUS_LIMIT
        for side in sides:
            side.end_stalled(loop.time())
            for connection in side.connected:
                left -= connection.report_statuses(loop.time(), left)
