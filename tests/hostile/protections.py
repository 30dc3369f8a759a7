"""With and without TLS: the options of the silo, of an honest client, and what an attacker with a certificate has."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import msgspec

from grange.proto.identity import server_name
from grange.testing.certificates import CertificateAuthority
from tests.hostile.places import Place


@dataclass(frozen=True)
class Protection:
    """How the ports are protected. Both tables are keywords, of `Silo` and of `Client`."""

    silo: dict[str, Any] = field(default_factory=dict)
    client: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def of(self, place: Place) -> Place:
        """This port, with what its attacker needs to reach it: a certificate of its role, and trust in the silo's."""
        if self.folder is None:
            return place
        folder = self.folder / place.role
        certificate, key, ca = (str(folder / name) for name in ("tls.crt", "tls.key", "ca.crt"))
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(certificate, key)
        read = [Path(name).read_bytes() for name in (ca, key, certificate)]
        return replace(
            place,
            client_tls=context,
            credentials=grpc.ssl_channel_credentials(*read),
            server_name=server_name("default"),
        )


def plain(_: Path) -> Protection:
    """No TLS."""
    return Protection()


def mutual_tls(folder: Path) -> Protection:
    """TLS on every port. The attackers have a certificate: without one they get no further than its handshake."""
    ca = CertificateAuthority("default")
    silo = msgspec.structs.asdict(ca.write(folder / "silo", ca.silo()))
    client = ca.write(folder / "client", ca.client("web"))
    files = {name: silo[name] for name in ("certificate", "key", "ca")}
    return Protection({"tls": files}, {"tls": client}, folder)
