"""TLS of one silo or client, for all its networks: the pair in use, and which peers have which port with TLS.

`grpc_credentials.py` and `tcp_tls.py` use it. The files of the pair are read and checked by `security/material.py`.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping

from grange.clock import utc_now
from grange.errors import ConfigurationError, HandshakeRefused
from grange.proto.identity import server_name
from grange.proto.ids import endpoint_of
from grange.security.admission import WRONG_CERTIFICATE
from grange.security.certificate import Certificate
from grange.security.pair import peer_certificate
from grange.security.renewal import RenewalTimes
from grange.transport.provider import Accept, Admit, Listener
from grange.transport.tls_contexts import ContextOf, KeyMaterial, client_context, server_context
from grange.transport.tls_faults import EXPIRED

OnRefused = Callable[[str, str], None]
"""Told of each peer that a port refused: a word for the reason, and a text. Any thread may call it."""


class Tls:
    """Made once for each silo or client.

    required: every port and every connection uses TLS. Otherwise (`mode = "both"`) the ports with TLS are further
    ones, and a peer is reached without TLS unless it is known to have it.
    """

    def __init__(
        self,
        material: KeyMaterial,
        cluster: str,
        *,
        required: bool = True,
        on_refused: OnRefused | None = None,
        times: RenewalTimes | None = None,
    ) -> None:
        self.material = material
        self.times = times or RenewalTimes()
        self.name = server_name(cluster)
        self.required = required
        self.on_refused: OnRefused = on_refused or _ignore
        self._ports: dict[str, int] = {}
        self._server = ContextOf(material, server_context)
        self._client = ContextOf(material, client_context)

    @property
    def server_context(self) -> ssl.SSLContext:
        """The context of accepted connections, with the pair in use."""
        return self._server.current()

    @property
    def client_context(self) -> ssl.SSLContext:
        """The context of connections to silos, with the pair in use."""
        return self._client.current()

    def has_expired(self) -> bool:
        """Whether our own certificate has expired."""
        return self.material.current.facts.not_after <= utc_now().timestamp()

    def learn(self, ports: Mapping[str, int]) -> None:
        """The peers that have TLS, from now on: their ports with TLS by the host:port at which others reach them."""
        self._ports = dict(ports)

    def port_of(self, host: str, port: int) -> int | None:
        """The port with TLS of the peer that is reached at this endpoint; None: reach it without TLS."""
        return self._ports.get(endpoint_of(host, port)) or (port if self.required else None)

    def certificate_of(self, data: bytes) -> Certificate:
        """The certificate of a peer, PEM or DER, whose chain TLS has verified.

        Raises HandshakeRefused for one that names no process of grange, is revoked, or has expired since the handshake.
        """
        try:
            found = peer_certificate(data)
        except ConfigurationError as error:
            raise self._refused(str(error), WRONG_CERTIFICATE) from None
        if self.material.is_revoked(found.fingerprint):
            raise self._refused(f"the certificate of the caller, {found.uri}, is revoked", "revoked-certificate")
        if found.not_after <= utc_now().timestamp():
            raise self._refused(f"the certificate of the caller, {found.uri}, has expired", EXPIRED.word)
        return found

    def still_admits(self, certificate: Certificate) -> bool:
        """Whether a certificate that was admitted before is neither revoked nor expired now."""
        return not self.material.is_revoked(certificate.fingerprint) and certificate.not_after > utc_now().timestamp()

    def _refused(self, problem: str, code: str) -> HandshakeRefused:
        self.on_refused(code, problem)
        return HandshakeRefused(problem, code=code)


class TlsPorts:
    """See `provider.Road`: the ports with TLS of a network."""

    def __init__(self, tls: Tls, listen: Callable[[str, int, Admit, Accept], Awaitable[Listener]]) -> None:
        self._tls = tls
        self._listen = listen

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Road`."""
        return await self._listen(host, port, admit, accept)

    def learn(self, ports: Mapping[str, int]) -> None:
        """See `provider.Road`."""
        self._tls.learn(ports)

    def on_change(self, callback: Callable[[float], None]) -> Callable[[], None]:
        """See `provider.TlsRoad`."""
        within = self._tls.times.opened_within
        return self._tls.material.on_change(lambda _: callback(within))


def _ignore(_word: str, _text: str) -> None:
    """Count and report nothing."""
