"""Finds out whether a port refuses connections: no process listens there, or a firewall answers in its place."""

from __future__ import annotations

import asyncio
import socket

PORTS = 65_536
"""Every port is below this number."""


async def refuses(host: str, port: int, timeout: float) -> bool:
    """Whether every address of this host refuses a connection to the port within `timeout` seconds. Never raises.

    False also if nothing answers, or the name cannot be resolved: neither says that no process listens. A connection
    that is accepted is closed at once.
    """
    if not 0 < port < PORTS:
        return False  # the system would take another one: the remainder
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers = [await _refuses(family, address) for family, _, _, _, address in places]
    except (OSError, TimeoutError, UnicodeError):  # UnicodeError: no host can have this name
        return False
    return bool(answers) and all(answers)


async def _refuses(family: int, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> bool:
    """Whether this address refuses. Raises OSError for any other failure."""
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(opened, address)
        except ConnectionRefusedError:
            return True
        # A port of this host, in the range from which the kernel chooses ports, may be connected to itself.
        return bool(opened.getsockname() == opened.getpeername())
