"""What both sides of a connection said first, and how a refusal is put."""

from __future__ import annotations

import asyncio

import msgspec

from grange.errors import GrangeError, HandshakeRefused
from grange.proto.handshake import Hello, Welcome, check
from grange.transport.options import TransportOptions
from grange.transport.provider import Admit


class Greeting(msgspec.Struct, frozen=True):
    """The handshake of one connection."""

    hello: Hello
    welcome: Welcome


def ask(hello: Hello, options: TransportOptions) -> Hello:
    """The Hello that goes out: with the limits of the transport that sends it."""
    return msgspec.structs.replace(hello, payload_limit=options.payload_limit)


def reply(hello: Hello, admit: Admit, options: TransportOptions) -> Greeting:
    """The accepting side's part. Raises `HandshakeRefused`, ready to be sent, when `admit` says no or fails."""
    try:
        welcome = admit(hello)
    except Exception as error:
        raise refusal(error) from None
    return Greeting(hello, msgspec.structs.replace(welcome, payload_limit=options.payload_limit))


def conclude(hello: Hello, welcome: Welcome) -> Greeting:
    """The opening side's part. Raises `HandshakeRefused` when the answer does not fit."""
    check(hello, welcome)
    return Greeting(hello, welcome)


def refusal(error: Exception) -> HandshakeRefused:
    """What the other side is told when a callback raised `error`. A fault of ours is reported here, not sent."""
    if isinstance(error, HandshakeRefused):
        return HandshakeRefused(str(error), code=error.code)
    if isinstance(error, GrangeError):
        return HandshakeRefused(str(error))
    report(error)
    return HandshakeRefused("the accepting side failed; its log says why", code="internal")


def report(error: Exception) -> None:
    """Somebody broke a promise not to raise: tell the loop and let the caller carry on."""
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": "a callback given to grange.transport raised", "exception": error})
