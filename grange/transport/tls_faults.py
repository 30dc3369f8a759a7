"""Why a handshake of TLS failed, in words for people. gRPC does not tell, so another handshake finds out."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import NamedTuple


class TlsFault(NamedTuple):
    """Why TLS failed: a word for figures, and a text for people that ends with the remedy."""

    word: str
    text: str


NOT_TLS = TlsFault(
    "not-tls",
    "the port does not use TLS; connect to the port of that silo with TLS, give the silo certificates ([tls]), or give "
    "this side none",
)
NEEDS_TLS = TlsFault(
    "not-tls",
    "the port uses TLS, and this side has no certificate for it; give it one (a silo: [tls]; a client: tls=; "
    "a command: --tls-certificate, --tls-key and --tls-ca)",
)
NOT_GRPC = TlsFault(
    "other", "the port uses TLS, and is none of silos or gateways; is it that of `http`? A gateway has port 30000"
)
_SELF_SIGNED = TlsFault(
    "unknown-ca", "the certificate of the other side is signed by itself, not by an authority of ours"
)
_UNKNOWN = TlsFault(
    "unknown-ca", "the certificate of the other side is not signed by an authority of ours; add its authority to `ca`"
)
REFUSED = TlsFault(
    "refused",
    "the other side ended the connection when it had seen our certificate: it has expired, or its authority is "
    "not in the `ca` there",
)
EXPIRED = TlsFault("expired", "our certificate has expired; renew it")
_VERSIONS = TlsFault("protocol", "the sides have no version of TLS in common; 1.2 and 1.3 are used")

_VERIFICATION = {
    9: TlsFault(
        "not-yet-valid", "the certificate of the other side is not valid yet; check the clocks of both machines"
    ),
    10: TlsFault("expired", "the certificate of the other side has expired; renew it there"),
    18: _SELF_SIGNED,
    19: _UNKNOWN,
    20: _UNKNOWN,
    21: _UNKNOWN,
    62: TlsFault("wrong-name", "the certificate of the other side is of another cluster, or not that of a silo"),
}
"""By the code of OpenSSL's verification (X509_V_ERR_*)."""

_ALERTS = {
    "CERTIFICATE_REQUIRED": TlsFault("no-certificate", "the other side wants a certificate of ours; give one ([tls])"),
    "CERTIFICATE_EXPIRED": TlsFault("expired", "the other side says that our certificate has expired; renew it"),
    "UNKNOWN_CA": TlsFault(
        "unknown-ca",
        "the other side does not know the authority of our certificate; add that to its `ca`, or use a certificate of "
        "this cluster",
    ),
    "BAD_CERTIFICATE": TlsFault("wrong-certificate", "the other side does not accept our certificate"),
    "UNSUPPORTED_CERTIFICATE": TlsFault(
        "wrong-certificate", "the other side cannot use our certificate: its key or its extended key usage is unfit"
    ),
    "PROTOCOL_VERSION": _VERSIONS,
}
"""By the end of the name of the alert that the other side has sent (RFC 8446, section 6.2)."""

_OWN = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": TlsFault("no-certificate", "the caller showed no certificate"),
    "UNSUPPORTED_PROTOCOL": _VERSIONS,
    "WRONG_VERSION_NUMBER": NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": NOT_TLS,
    "RECORD_LAYER_FAILURE": NOT_TLS,
    "HTTP_REQUEST": NOT_TLS,
}
"""By the reason that OpenSSL on this side gives."""


def fault_of(error: Exception) -> TlsFault:
    """The words for a failed handshake: an error of ssl, or one of the socket below it."""
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _VERIFICATION:
        return _VERIFICATION[error.verify_code]
    reason = (getattr(error, "reason", None) or "").upper().replace(" ", "_")
    found = _ALERTS.get(reason.rpartition("ALERT_")[2]) if "ALERT_" in reason else _OWN.get(reason)
    if found is not None:
        return found
    if isinstance(error, ssl.SSLError):
        detail = getattr(error, "verify_message", "") or reason.lower().replace("_", " ") or "the stream ended"
        return TlsFault("other", f"TLS failed: {detail}; compare certificate, key and ca of both sides")
    return TlsFault(
        "other", "the other side ended the handshake of TLS without a reason; its log or metrics may tell one"
    )


async def find_fault(
    host: str, port: int, context: ssl.SSLContext | None, name: str, seconds: float
) -> TlsFault | None:
    """What another handshake with this port finds; None: nothing. For errors of gRPC, which do not tell.

    `context` is ours for connections to silos, None on a side without TLS: then it is asked only whether the port uses
    TLS, and nothing is verified or sent. `name` is the name that the other side must have.
    """
    try:
        async with asyncio.timeout(seconds):
            if context is None:
                await _shake_hands(host, port, _asking_context(), "")
                return NEEDS_TLS
            context.set_alpn_protocols(["h2"])
            is_refused = not await _shake_hands(host, port, context, name)
    except (TimeoutError, UnicodeError, ConnectionRefusedError):
        return None
    except OSError as error:
        if context is not None:
            return fault_of(error) if isinstance(error, ssl.SSLError) else REFUSED
        return NEEDS_TLS if "ALERT" in (getattr(error, "reason", None) or "") else None
    return REFUSED if is_refused else None


async def _shake_hands(host: str, port: int, context: ssl.SSLContext, name: str) -> bytes:
    """A handshake, and the first byte that follows: with TLS 1.3 the other side judges our certificate only then."""
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name or None)
    try:
        return await reader.read(1) if name else b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _asking_context() -> ssl.SSLContext:
    """A context that only asks whether a port uses TLS: no data is sent over it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
