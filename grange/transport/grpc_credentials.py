"""The credentials of gRPC from the pair in use, and the certificate of a peer from a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, cast

import grpc
import grpc.aio

from grange.errors import HandshakeRefused
from grange.proto.ids import endpoint_of
from grange.security.admission import WRONG_CERTIFICATE
from grange.security.certificate import Certificate
from grange.security.material import KeyPair
from grange.transport.grpc_options import Setting
from grange.transport.tls import Tls
from grange.transport.tls_contexts import KeyMaterial


class AnyServer(Protocol):
    """A synchronous or an asynchronous server."""

    def add_insecure_port(self, address: str) -> int:
        """gRPC: open a port without TLS."""
        ...

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """gRPC: open a port with TLS."""
        ...


def open_port(server: AnyServer, place: tuple[str, int], tls: Tls | None) -> int:
    """Open a port, with TLS if it is given. Raises RuntimeError, as gRPC does, if it cannot be opened."""
    if tls is None:
        return server.add_insecure_port(endpoint_of(*place))
    return server.add_secure_port(endpoint_of(*place), server_credentials(tls.material))


def server_credentials(material: KeyMaterial) -> grpc.ServerCredentials:
    """The credentials of one port. Each handshake uses the pair that is in use then; peers must show a certificate."""
    first = material.current
    fetch = _Fetcher(material, first).fetch
    # The types of gRPC do not tell that None is allowed.
    return grpc.dynamic_ssl_server_credentials(_configuration(first), fetch, True)  # type: ignore[arg-type]


def open_channel(host: str, port: int, options: list[Setting], tls: Tls | None) -> grpc.aio.Channel:
    """A channel, with TLS if it is given. The name of the cluster's silos is checked in place of the address."""
    target = endpoint_of(host, port)
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    pair = tls.material.current
    credentials = grpc.ssl_channel_credentials(pair.ca, pair.key, pair.certificate)
    named = [*options, ("grpc.ssl_target_name_override", tls.name)]
    return grpc.aio.secure_channel(target, credentials, options=named)


_PEM = "x509_pem_cert"
"""gRPC: the certificate of the peer in the facts about a call."""


def shows_certificate(facts: Mapping[str, object]) -> bool:
    """Whether the peer has shown a certificate; on a port with TLS each does. `facts`: gRPC's `auth_context()`."""
    return bool(facts.get(_PEM))


def certificate_of(facts: Mapping[str, object], tls: Tls) -> Certificate:
    """The certificate of the peer on a port with TLS. Raises HandshakeRefused for one that is not admitted."""
    if not shows_certificate(facts):  # gRPC refuses such a peer before
        raise HandshakeRefused("the caller showed no certificate", code=WRONG_CERTIFICATE)
    return tls.certificate_of(next(iter(cast("Iterable[bytes]", facts[_PEM]))))


class _Fetcher:
    """Gives gRPC the new pair at the first handshake after it is in use.

    gRPC calls it in a thread of its own, at each handshake: so it returns only what is ready. gRPC keeps the pair that
    it has if this returns None.
    """

    def __init__(self, material: KeyMaterial, given: KeyPair) -> None:
        self._material = material
        self._given = given

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        pair = self._material.current
        if pair is self._given:
            return None
        self._given = pair
        return _configuration(pair)


def _configuration(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], pair.ca)
