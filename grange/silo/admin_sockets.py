"""The sockets of the admin port: one, or one with TLS and one without."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import NamedTuple

from grange.silo.config import SiloConfig
from grange.silo.tls import SiloTls
from grange.transport.listening import cannot_listen

BACKLOG = 128
"""Connections that the system completes before the thread accepts them."""


class Listening(NamedTuple):
    """An open socket, and the TLS of its connections; None: it has none."""

    socket: socket.socket
    tls: SiloTls | None

    @property
    def port(self) -> int:
        """The number of the port."""
        number: int = self.socket.getsockname()[1]
        return number


async def open_sockets(config: SiloConfig, tls: SiloTls | None) -> list[Listening]:
    """Open the port of the option `http`, and the further one with TLS, if any. Raises CannotListen."""
    assert config.http != "off", "called for a silo with an admin port"
    is_required = tls is not None and tls.required
    opened = [Listening(await listen(config.admin_host, config.http), tls if is_required else None)]
    if tls is not None and (not tls.required or tls.options.http_port):
        try:
            with config.naming("tls", "http_port"):
                opened.append(Listening(await listen(config.admin_host, tls.options.http_port), tls))
        except BaseException:
            opened[0].socket.close()
            raise
    return opened


async def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket. Raises CannotListen."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        opened = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise cannot_listen(host, port) from None
    try:
        if os.name == "posix":  # a port whose last connections time out may be opened
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise cannot_listen(host, port) from None
    return opened
