"""What both sides of a connection said first, and how a refusal is put."""

from __future__ import annotations

import asyncio

import msgspec

from grange.errors import GrangeError, HandshakeRefused
from grange.proto.handshake import Hello, Welcome


class Greeting(msgspec.Struct, frozen=True):
    """The handshake of one connection."""

    hello: Hello
    welcome: Welcome


def refusal(error: Exception) -> HandshakeRefused:
    """What the other side is told when `admit` or `accept` raised `error`. A fault of ours is reported, not
    sent.
    """
    if isinstance(error, HandshakeRefused):
        return HandshakeRefused(str(error), code=error.code)
    if isinstance(error, GrangeError):
        return HandshakeRefused(str(error))
    report(error)
    return HandshakeRefused("the accepting side failed; its log says why", code="internal")


def report(error: Exception) -> None:
    """Somebody broke a promise not to raise: tell the loop and let the caller carry on."""
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({
        "message": "a callback given to grange.transport raised",
        "exception": error,
    })
