"""Runs a server program for a test session: starts, kills and restarts it; port, folder, log, bounded waits.

`redis.py` and `postgres.py` add the details of each program. The file is synchronous on purpose: a session fixture
starts servers before any event loop runs, and a fault test may kill a server from any thread.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
UNPRIVILEGED_ID = 65534
"""User and group id for a server when the tests run as root, because Postgres refuses to run as root."""

_DROP_ROOT = (
    "import os, sys; user = int(sys.argv[1]); os.setgroups([]); os.setgid(user); os.setuid(user); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
"""Changes the user inside the new process. `Popen(user=...)` would fork, and forked children crash where gRPC runs."""

START_ATTEMPTS = 10
"""Attempts to start. Another process may take the port first, or a killed Postgres may still hold its data folder."""

POLL_SECONDS = 0.02
"""Pause between two checks whether a server answers."""
START_POLLS = 1500
"""Checks in one attempt: START_POLLS * POLL_SECONDS = 30 s, in which the server answers or exits."""

STOP_SECONDS = 15.0
"""Time for a stop in order; after that the server is killed."""
PROBE_SECONDS = 1.0
"""Time-out of one check whether a server answers."""
LOG_TAIL_LINES = 25
"""Last lines of the log that an error shows."""


class ServerNotStarted(RuntimeError):
    """A server program was not found or did not start. The message ends with the tail of its log."""


class ServerProcess:
    """One server on its own loopback port, with its own folder that exists until `close`.

    `start`, `stop` (in order) and `kill` (SIGKILL) may follow each other; port and data stay the same, as a fault test
    needs. The context manager starts the server on entry; on exit it stops the server and removes the folder.
    """

    name = "server"
    unprivileged = False
    entry: Sequence[str] = ()
    """Words before every command, run as root, that enter a network namespace: `ip netns exec NAME`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"grange-{self.name}-"))
        self.log = self.folder / "server.log"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        if self._drops_root():
            require_reachable(self.folder.parent, "set TMPDIR to a folder that every user can enter")
            os.chown(self.folder, UNPRIVILEGED_ID, UNPRIVILEGED_ID)

    def prepare(self) -> None:
        """Make the data folder. Called once, before the first start."""

    def command(self) -> Sequence[str]:
        """The program and its arguments for the current port. The program must stay in the foreground."""
        raise NotImplementedError

    def answers(self, pid: int) -> bool:
        """Whether the server with this process id accepts connections now, and not another one on the same port."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """Whether the process exists; it may not answer yet."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait for it to accept connections. Raises `ServerNotStarted` with its log's tail."""
        if self.running:
            return
        first = self.port == 0
        if first:
            self.prepare()
        for attempt in range(START_ATTEMPTS):
            time.sleep(attempt * POLL_SECONDS)  # child processes of a killed Postgres need a moment to exit
            if first:
                self.port = free_port()
            if self._start_once():
                return
        raise ServerNotStarted(f"{self.name} did not start: {' '.join(self.command())}\n{self.log_tail()}")

    def stop(self) -> None:
        """Stop the server in order and wait; kill it if it takes longer than STOP_SECONDS."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """Kill the process, as a crash does (SIGKILL), and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop the server and remove its folder, including its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, command: Sequence[str]) -> None:
        """Run a preparing program to its end, as the server's user. Its output goes to the log."""
        process = self._spawn(command)
        if process.wait() != 0:
            raise ServerNotStarted(f"{' '.join(command)} failed\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:]) or "(its log is empty)"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_once(self) -> bool:
        """True when the server answers, False when it exited: another port or a short pause may help."""
        process = self._spawn(self.command())
        for _ in range(START_POLLS):
            try:
                process.wait(POLL_SECONDS)  # a pause that ends at once when the server exits
            except subprocess.TimeoutExpired:
                if self.answers(process.pid):
                    self._process = process
                    return True
            else:
                return False
        process.kill()
        process.wait()
        raise ServerNotStarted(f"{self.name} neither answered nor ended in time\n{self.log_tail()}")

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program in the server's folder, in its own session, so that Ctrl-C reaches only the tests."""
        drop = (sys.executable, "-I", "-S", "-c", _DROP_ROOT, str(UNPRIVILEGED_ID)) if self._drops_root() else ()
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self.entry, *drop, *command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )

    def _drops_root(self) -> bool:
        return self.unprivileged and os.geteuid() == 0


def free_port() -> int:
    """A loopback port that was free a moment ago. The caller must expect that it is taken by now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def reachable(path: Path) -> bool:
    """Whether a user who is neither owner nor in the group may enter the folder and every folder above it."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def require_reachable(path: Path, remedy: str) -> None:
    """Raise `ServerNotStarted` if an unprivileged server cannot enter the folder."""
    if not reachable(path):
        raise ServerNotStarted(f"the unprivileged test server cannot enter {path}: {remedy}")


def find_program(candidates: Sequence[Callable[[], Path | None]], name: str, remedy: str) -> Path:
    """The first program that a candidate finds. Raises `ServerNotStarted` with the remedy; a test is never skipped."""
    for candidate in candidates:
        path = candidate()
        if path is not None:
            return path
    raise ServerNotStarted(f"no {name} server found: {remedy}")


def files_in_wheel(package: str, pattern: str) -> list[Path]:
    """Files of an installed package, found without an import of the package."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return [path for folder in folders or () for path in Path(folder).glob(pattern)]
