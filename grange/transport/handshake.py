"""The handshake of one connection, as every transport performs it, and the text of a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from grange.errors import GrangeError, HandshakeRefused
from grange.proto import codec, packed
from grange.proto.handshake import PACKED, Hello, Welcome, check
from grange.proto.message import Message
from grange.security.certificate import Certificate
from grange.transport.options import TransportOptions
from grange.transport.provider import Admit


class FrameCodec(NamedTuple):
    """The encoding of all frames after the greetings. `decode` takes the limit in bytes and raises InvalidFrame."""

    encode: Callable[[list[Message]], bytes]
    decode: Callable[[bytes, int], list[Message]]


class Handshake(msgspec.Struct, frozen=True):
    """Both greetings of a connection whose handshake succeeded.

    On the accepting side it has the certificate of the peer, and its address as it is counted: see `arrivals.py`.
    """

    hello: Hello
    welcome: Welcome
    certificate: Certificate | None = None
    address: str = ""

    def peer_name(self, accepting: bool) -> str:
        """The other side's name, for error messages; `accepting` is true on the accepting side."""
        return self.hello.name if accepting else str(self.welcome.address)

    def peer_payload_limit(self, accepting: bool) -> int:
        """The payload limit of the other side in bytes; 0 when the peer stated none."""
        return self.hello.payload_limit if accepting else self.welcome.payload_limit

    @property
    def frames(self) -> FrameCodec:
        """Packed frames if both sides agreed on them, else protobuf."""
        if self.welcome.packed:
            return FrameCodec(packed.encode_frame, packed.decode_frame)
        return FrameCodec(codec.encode_frame, codec.decode_frame)


def with_limits(hello: Hello, options: TransportOptions) -> Hello:
    """Add to a Hello what the sending transport accepts: its payload limit, and packed frames."""
    offered = PACKED if options.packed_frames else 0
    return msgspec.structs.replace(hello, payload_limit=options.payload_limit, packed=offered)


def answer(
    hello: Hello,
    admit: Admit,
    options: TransportOptions,
    certificate: Certificate | None = None,
    address: str = "",
) -> Handshake:
    """Answer a Hello on the accepting side; the peer has shown this certificate, and comes from this address.

    Raises `HandshakeRefused`, ready to send, when `admit` refuses or fails.
    """
    try:
        welcome = admit(hello, certificate)
    except Exception as error:
        raise refusal(error) from None
    chosen = min(hello.packed, PACKED) if options.packed_frames else 0
    welcome = msgspec.structs.replace(welcome, payload_limit=options.payload_limit, packed=chosen)
    return Handshake(hello, welcome, certificate, address)


def conclude(hello: Hello, welcome: Welcome) -> Handshake:
    """Check the Welcome on the opening side. Raises `HandshakeRefused` when it does not match the Hello."""
    check(hello, welcome)
    return Handshake(hello, welcome)


def refusal(error: Exception) -> HandshakeRefused:
    """Turn the exception of a callback into the refusal that the peer receives.

    An error that is not grange's own is a bug on this side: report it here and send no details of it.
    """
    if isinstance(error, HandshakeRefused):
        return HandshakeRefused(str(error), error.code, error.retry_after)
    if isinstance(error, GrangeError):
        return HandshakeRefused(str(error))
    report(error)
    return HandshakeRefused("the accepting side failed; see its log", code="internal")


def report(error: Exception) -> None:
    """Pass an exception that a callback must not raise to the loop's exception handler."""
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": "a callback given to grange.transport raised", "exception": error})
