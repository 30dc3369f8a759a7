"""Probes as a kubelet makes them: an HTTP GET each period, and a verdict after enough answers of one kind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProbeSpec:
    """Times in seconds. `failures` in a row make the verdict false, one success makes it true."""

    path: str
    port: int
    period: float
    timeout: float
    failures: int


class Verdict:
    """What the answers so far mean."""

    def __init__(self, spec: ProbeSpec) -> None:
        self._spec = spec
        self._failed = 0
        self.passes = False
        """Whether the last decision was for the pod; false before the first."""
        self.asked = 0

    @property
    def fails(self) -> bool:
        """Whether enough answers in a row were failures."""
        return self._failed >= self._spec.failures

    def record(self, ok: bool) -> None:
        self.asked += 1
        self._failed = 0 if ok else self._failed + 1
        if ok:
            self.passes = True
        elif self.fails:
            self.passes = False


async def answers(make_socket: Callable[[], socket.socket], ip: str, spec: ProbeSpec) -> bool:
    """Whether the pod answers 200 to 399 within the time-out."""
    try:
        async with asyncio.timeout(spec.timeout):
            return 200 <= await _status(make_socket(), ip, spec) < 400
    except (OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError):
        return False


async def _status(opened: socket.socket, ip: str, spec: ProbeSpec) -> int:
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, (ip, spec.port))
        reader, writer = await asyncio.open_connection(sock=opened)
    except BaseException:
        opened.close()
        raise
    try:
        writer.write(f"GET {spec.path} HTTP/1.1\r\nhost: {ip}:{spec.port}\r\nconnection: close\r\n\r\n".encode())
        return int((await reader.readuntil(b"\r\n")).split()[1])
    finally:
        writer.close()
