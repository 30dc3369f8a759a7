"""The contexts of Python's ssl for a pair: those of the socket road and of the admin port. gRPC has its own TLS.

They verify the same chains as gRPC does: any certificate in `ca` is trusted, whether it has signed itself or not.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from grange.security.material import KeyPair


class KeyMaterial(Protocol):
    """What the transports use of `security.material.Material`."""

    @property
    def current(self) -> KeyPair:
        """The pair for the next handshake."""
        ...

    def is_revoked(self, fingerprint: str) -> bool:
        """Whether the certificate with this fingerprint is revoked."""
        ...

    def on_change(self, callback: Callable[[KeyPair], None]) -> Callable[[], None]:
        """Have `callback` called with each new pair. Returns the function that ends this; idempotent."""
        ...


class ContextOf:
    """The context of the pair in use: a new pair has a new one."""

    def __init__(self, material: KeyMaterial, make: Callable[[KeyPair], ssl.SSLContext]) -> None:
        self._material = material
        self._make = make
        self._pair = material.current
        self._context: ssl.SSLContext | None = None

    def current(self) -> ssl.SSLContext:
        """The context for the next handshake. Call it in one thread only."""
        pair = self._material.current
        if self._context is None or pair is not self._pair:
            self._pair, self._context = pair, self._make(pair)
        return self._context

    def live(self) -> ssl.SSLContext:
        """A context for a server that keeps one for ever: each handshake uses the pair that is in use then.

        The callback for the name that the client asks for is called in each handshake, with or without a name. The
        certificate and the authorities are those of the context that it sets.
        """
        context = self._make(self._material.current)

        def choose(tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            tls.context = self.current()

        context.sni_callback = choose
        return context


def server_context(pair: KeyPair, *, certificates: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    """The context of accepted connections. `certificates`: whether peers must show a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=pair.ca.decode())
    context.verify_mode = certificates
    context.num_tickets = 0  # a session that is resumed would not verify the certificate of its peer again
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    return _completed(context, pair)


def context_for_browsers(pair: KeyPair) -> ssl.SSLContext:
    """The context of an HTTP server: clients may show a certificate."""
    return server_context(pair, certificates=ssl.CERT_OPTIONAL)


def client_context(pair: KeyPair) -> ssl.SSLContext:
    """The context of connections to silos; it checks the name that the caller gives as `server_hostname`."""
    return _completed(ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=pair.ca.decode()), pair)


def _completed(context: ssl.SSLContext, pair: KeyPair) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    with _file(pair.certificate + b"\n" + pair.key) as path:
        context.load_cert_chain(path, password="")  # no pass phrase, and no question for one at the terminal
    return context


@contextmanager
def _file(content: bytes) -> Generator[str]:
    """A file with this content for a library that reads only files: in memory where the system can do that.

    The files of the options may have changed since they were checked, so they are not read again.
    """
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        number = os.memfd_create("grange-tls", os.MFD_CLOEXEC)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{number}"
        return
    with tempfile.TemporaryDirectory(prefix="grange-tls-") as folder:  # only this user may enter it
        path = os.path.join(folder, "pair.pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        yield path
