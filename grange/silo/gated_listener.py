"""An open port that refuses connections until the silo is ready to answer; by gRPC, by the faster road, and with TLS.

The port opens first, because a silo's address contains it. A connection that comes too early is refused with the code
"starting", at which its peer tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grange.errors import HandshakeRefused
from grange.observability.counters import PortFigures
from grange.observability.snapshot import PortSnapshot
from grange.proto.handshake import Hello, Role, Welcome, answer
from grange.proto.identity import parse_spiffe
from grange.proto.ids import SiloAddress
from grange.runtime.calls.inbound import Inbound
from grange.security.admission import WRONG_CERTIFICATE, admitted
from grange.security.certificate import Certificate
from grange.silo.tls import SiloTls
from grange.transport.arrivals import OnRefused
from grange.transport.provider import Connection, Listener, Receiver, Transport

_WRONG_PORT = {
    Role.SILO: "this is the port of {} for other silos; clients use its gateway port (gateway_port, by default 30000)",
    Role.CLIENT: "this is the gateway port of {}, for clients; silos use its silo port (port, by default 11111)",
}
"""The refusal for a caller of the wrong role, by the role that the port is for."""

_CERTIFICATES = {Role.SILO: ("silo",), Role.CLIENT: ("client", "admin")}
"""The roles of the certificates with which a caller may say that it has this role."""


Check = Callable[[Hello, Certificate | None], None]
"""Raises HandshakeRefused for a certificate or token that does not fit (`Identities.admit`)."""

_PASSING = frozenset({"starting", "leaving", "other-generation"})
"""Codes of refusals that say nothing about the caller."""

Denied = Callable[[Hello, Certificate | None, HandshakeRefused], None]
"""Is told of a refused peer."""


class GatedListener:
    """The ports for silos, or for clients. In order: `listen`, `listen_road`, `listen_tls`, `admit`, `drain`, `close`.

    `plain` counts the connections that were admitted without TLS by a transport that has TLS too. `denied` is told of
    peers that are refused for what they are.
    """

    def __init__(self, role: Role, cluster: str, tls: SiloTls | None = None) -> None:
        self._role = role
        self._cluster = cluster
        self._tls = tls
        self._address: SiloAddress | None = None
        self._inbound: Inbound | None = None
        self._check: Check = _check_nothing
        self._listeners: list[Listener] = []
        self._road_port = self._tls_port = 0
        self.plain = 0
        self._draining = False
        self.denied: Denied = _ignore

    async def listen(self, transport: Transport, host: str, port: int) -> int:
        """Open the port; returns its number, which the system chose if `port` is 0.

        Raises ConfigurationError if the port is in use.
        """
        listener = await transport.listen(host, port, self._admit_or_note, self._accept)
        self._listeners.append(listener)
        if self._tls is not None and self._tls.required:
            self._tls_port = listener.port
        return listener.port

    async def listen_road(self, transport: Transport, host: str, port: int) -> None:
        """Open the port of the faster road, if the transport has one. Raises ConfigurationError as `listen` does."""
        if transport.road is not None:
            listener = await transport.road.listen(host, port, self._admit_or_note, self._accept)
            self._listeners.append(listener)
            self._road_port = listener.port

    async def listen_tls(self, transport: Transport, host: str, port: int) -> None:
        """Open the port with TLS beside the plain one; if every port has TLS, a further one, unless `port` is 0.

        Does nothing without TLS. Raises ConfigurationError as `listen` does.
        """
        if self._tls is None or transport.tls is None or (self._tls.required and not port):
            return
        listener = await transport.tls.listen(host, port, self._admit_or_note, self._accept)
        self._listeners.append(listener)
        self._tls_port = self._tls_port or listener.port

    @property
    def tls_port(self) -> int:
        """The number of the port with TLS that others should use; 0: there is none."""
        return self._tls_port

    @property
    def name(self) -> str:
        """The kind of its peers: "silo" or "client"."""
        return self._role.name.lower()

    def watch(self, on_refused: OnRefused) -> None:
        """Have `on_refused` told of each connection that a limit refuses, on all roads."""
        for listener in self._listeners:
            listener.arrivals.on_refused = on_refused

    def figures(self) -> PortSnapshot:
        """The connections that were refused, and the handshakes in progress, on all roads."""
        both = PortFigures()
        for listener in self._listeners:
            both.add(listener.arrivals.figures)
        return both.snapshot(self.name)

    @property
    def road_port(self) -> int:
        """The number of the port of the faster road; 0: there is none."""
        return self._road_port

    def admit(self, address: SiloAddress, inbound: Inbound, check: Check) -> None:
        """Admit connections from now on, for the silo at `address`; `inbound` receives their messages.

        `check` refuses the Hello of a peer that is not what it should be.
        """
        self._address = address
        self._inbound = inbound
        self._check = check

    def answer_health(self, is_serving: Callable[[], bool]) -> None:
        """Answer the network's health checks by this from now on; before, the answer is "not serving"."""
        for listener in self._listeners:
            listener.answer_health(is_serving, self._may_ask)

    def drain(self) -> None:
        """Refuse further connections, because this silo stops. Open ones continue."""
        self._draining = True

    async def close(self) -> None:
        """Close the ports and every connection that they accepted."""
        await asyncio.gather(*(listener.close() for listener in self._listeners))

    def _admit_or_note(self, hello: Hello, certificate: Certificate | None) -> Welcome:
        try:
            return self._admit(hello, certificate)
        except HandshakeRefused as refused:
            if refused.code not in _PASSING:
                self.denied(hello, certificate, refused)
            raise

    def _admit(self, hello: Hello, certificate: Certificate | None) -> Welcome:
        if certificate is not None:
            try:
                self._check_certificate(hello, certificate)
            except HandshakeRefused as refused:
                self._report(refused)
                raise
        if self._address is None:
            raise HandshakeRefused("this silo is still starting; try again", code="starting")
        if self._draining:
            raise HandshakeRefused(f"silo {self._address} is leaving; use another one", code="leaving")
        if hello.role is not self._role:
            raise HandshakeRefused(_WRONG_PORT[self._role].format(self._address), code="wrong-port")
        welcome = answer(hello, self._cluster, self._address)
        self._check(hello, certificate)
        self.plain += certificate is None and self._tls is not None
        return welcome

    def _check_certificate(self, hello: Hello, certificate: Certificate) -> None:
        """Raise HandshakeRefused for a certificate that is not for this port, or that contradicts the Hello."""
        admitted(certificate, self._cluster, _CERTIFICATES[self._role])
        if parse_spiffe(certificate.uri).role not in _CERTIFICATES[hello.role]:
            raise HandshakeRefused(
                f"the caller says that it is a {hello.role.name.lower()}, and its certificate is {certificate.uri}; "
                "use a certificate of its role",
                code=WRONG_CERTIFICATE,
            )

    def _report(self, refused: HandshakeRefused) -> None:
        if self._tls is not None:
            self._tls.transport.on_refused(refused.code, str(refused))

    def _may_ask(self, certificate: Certificate | None) -> bool:
        """Whether this peer may ask for the health."""
        try:
            return certificate is None or bool(admitted(certificate, self._cluster, _CERTIFICATES[self._role]))
        except HandshakeRefused:
            return False

    def _accept(self, connection: Connection) -> Receiver:
        assert self._inbound is not None, "no connection is admitted before `admit`"
        return self._inbound.accept(connection)


def _check_nothing(hello: Hello, certificate: Certificate | None) -> None:
    """Before `admit`: each Hello is refused anyway."""


def _ignore(hello: Hello, certificate: Certificate | None, refused: HandshakeRefused) -> None:
    """Before the start of the silo has set another."""
