"""The handshake of one connection, as every transport performs it, and the text of a refusal."""

from __future__ import annotations

import asyncio

import msgspec

from grange.errors import GrangeError, HandshakeRefused
from grange.proto.handshake import Hello, Welcome, check
from grange.transport.options import TransportOptions
from grange.transport.provider import Admit


class Handshake(msgspec.Struct, frozen=True):
    """Both greetings of a connection whose handshake succeeded."""

    hello: Hello
    welcome: Welcome

    def peer_name(self, accepting: bool) -> str:
        """The other side's name, for error messages; `accepting` is true on the accepting side."""
        return self.hello.name if accepting else str(self.welcome.address)

    def peer_payload_limit(self, accepting: bool) -> int:
        """The payload limit of the other side in bytes; 0 when the peer stated none."""
        return self.hello.payload_limit if accepting else self.welcome.payload_limit


def with_limits(hello: Hello, options: TransportOptions) -> Hello:
    """Add the payload limit of the sending transport to its Hello."""
    return msgspec.structs.replace(hello, payload_limit=options.payload_limit)


def answer(hello: Hello, admit: Admit, options: TransportOptions) -> Handshake:
    """Answer a Hello on the accepting side. Raises `HandshakeRefused`, ready to send, when `admit` refuses or fails."""
    try:
        welcome = admit(hello)
    except Exception as error:
        raise refusal(error) from None
    return Handshake(hello, msgspec.structs.replace(welcome, payload_limit=options.payload_limit))


def conclude(hello: Hello, welcome: Welcome) -> Handshake:
    """Check the Welcome on the opening side. Raises `HandshakeRefused` when it does not match the Hello."""
    check(hello, welcome)
    return Handshake(hello, welcome)


def refusal(error: Exception) -> HandshakeRefused:
    """Turn the exception of a callback into the refusal that the peer receives.

    An error that is not grange's own is a bug on this side: report it here and send no details of it.
    """
    if isinstance(error, HandshakeRefused):
        return HandshakeRefused(str(error), code=error.code)
    if isinstance(error, GrangeError):
        return HandshakeRefused(str(error))
    report(error)
    return HandshakeRefused("the accepting side failed; see its log", code="internal")


def report(error: Exception) -> None:
    """Pass an exception that a callback must not raise to the loop's exception handler."""
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": "a callback given to grange.transport raised", "exception": error})
