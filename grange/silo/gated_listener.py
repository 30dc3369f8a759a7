"""An open port that lets nobody in until the silo behind it is ready to answer.

The port opens first, because a silo's address contains it; who connects too early is told so and tries again.
"""

from __future__ import annotations

from grange.errors import HandshakeRefused
from grange.proto.handshake import Hello, Role, Welcome, answer
from grange.proto.ids import SiloAddress
from grange.runtime.calls.inbound import Inbound
from grange.transport.provider import Connection, Listener, Receiver, Transport

_WRONG_PORT = {
    Role.SILO: "this is the port of {} for other silos; clients use its gateway port (gateway_port, by default 30000)",
    Role.CLIENT: "this is the gateway port of {}, for clients; silos use its silo port (port, by default 11111)",
}
"""What a caller of the wrong kind hears, by the kind that the port is for."""


class GatedListener:
    """One port, for silos or for clients."""

    def __init__(self, role: Role, cluster: str) -> None:
        self._role = role
        self._cluster = cluster
        self._address: SiloAddress | None = None
        self._inbound: Inbound | None = None
        self._listener: Listener | None = None
        self._leaving = False

    async def listen(self, transport: Transport, host: str, port: int) -> int:
        """Open the port; returns the real one. Raises ConfigurationError when it is taken."""
        self._listener = await transport.listen(host, port, self._admit, self._accept)
        return self._listener.port

    def open(self, address: SiloAddress, inbound: Inbound) -> None:
        """Let them in."""
        self._address = address
        self._inbound = inbound

    def shut(self) -> None:
        """Let nobody else in: this silo is leaving."""
        self._leaving = True

    async def close(self) -> None:
        """Close the port and what came through it."""
        if self._listener is not None:
            await self._listener.close()

    def _admit(self, hello: Hello) -> Welcome:
        if self._address is None:
            raise HandshakeRefused("this silo is still starting; try again", code="starting")
        if self._leaving:
            raise HandshakeRefused(f"silo {self._address} is leaving; use another one", code="leaving")
        if hello.role is not self._role:
            raise HandshakeRefused(_WRONG_PORT[self._role].format(self._address), code="wrong-port")
        return answer(hello, self._cluster, self._address)

    def _accept(self, connection: Connection) -> Receiver:
        assert self._inbound is not None, "nobody is admitted before the door is open"
        return self._inbound.accept(connection)
