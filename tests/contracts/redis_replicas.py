"""Redis servers with roles: replicas of one another, and a Sentinel that watches them."""

from __future__ import annotations

import asyncio
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from grange.servers.redis import RedisServer

PASSWORD = "s3cret-canary"
PATIENCE = 30.0


class Server(RedisServer):
    """A Redis with a password. Settings of the test override the usual ones."""

    def __init__(self, *settings: str) -> None:
        super().__init__()
        self._settings = settings

    def command(self) -> Sequence[str]:
        secret = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
        return [*super().command(), *secret, "--repl-diskless-sync-delay", "0", *self._settings]

    def answers(self, pid: int) -> bool:
        try:
            info = self.ask("INFO")
            return int(info["process_id"]) == pid and not info["loading"]
        except redis.exceptions.ConnectionError:
            return False

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def ask(self, *command: str) -> Any:
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            return client.execute_command(*command)

    def replica(self, *settings: str) -> Server:
        return Server("--replicaof", f"127.0.0.1 {self.port}", *settings)


class Sentinel(RedisServer):
    """One Sentinel that decides alone and watches one master under the name `table`."""

    def __init__(self, master: Server) -> None:
        super().__init__()
        self._master = master

    def command(self) -> Sequence[str]:
        lines = (
            f"bind 127.0.0.1\nport {self.port}\ndir {self.folder}\n"
            f"sentinel monitor table 127.0.0.1 {self._master.port} 1\n"
            f"sentinel auth-pass table {PASSWORD}\n"
            "sentinel down-after-milliseconds table 500\nsentinel failover-timeout table 2000\n"
        )
        path = self.folder / "sentinel.conf"
        path.write_text(lines)
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        return [str(self.program), str(path), "--sentinel"]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, *command: str) -> Any:
        with redis.Redis(port=self.port, decode_responses=True) as client:
            return client.execute_command(*command)


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    """Let a server stand still. It may be killed meanwhile."""
    assert server._process is not None
    process = server._process
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def until(happened: Callable[[], bool]) -> None:
    """Poll until it has happened."""
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.05)


async def replicated(master: Server, count: int = 1) -> None:
    """Wait until so many replicas are connected and up to date."""

    def online() -> bool:
        return str(master.ask("INFO", "replication")).count("'state': 'online'") >= count

    await until(online)
