"""Asks a silo for an act in the name of the person at this terminal, and reads the answer."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Awaitable, Callable

import msgspec

from grange.errors import CallNotExecuted
from grange.proto.acts import ACT, Act, Acted, Outcome
from grange.proto.ids import SiloAddress

Ask = Callable[[SiloAddress, str, bytes, float], Awaitable[bytes]]
"""Asks a system target of the silo with this gateway; the last argument is the time-out in seconds."""


def person() -> str:
    """The user of this terminal and the machine, for the audit. It proves nothing."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError, ImportError):  # a user id without a name
        return f"a user@{socket.gethostname()}"


async def asked_act(ask: Ask, gateway: SiloAddress, act: Act, seconds: float) -> Acted:
    """The answer of the silo with this gateway; `actor` of the act is filled in.

    Raises what `ask` raises: Unauthorized (certainly not done), CallOutcomeUnknown (perhaps done).
    """
    question = msgspec.msgpack.encode(msgspec.structs.replace(act, actor=person()))
    return msgspec.msgpack.decode(await ask(gateway, ACT, question, seconds), type=Acted)


def refuse(acted: Acted) -> None:
    """Raise CallNotExecuted for an act that was refused."""
    if acted.outcome is Outcome.REFUSED:
        raise CallNotExecuted(acted.text)
