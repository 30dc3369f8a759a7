"""A server program that a session starts, kills and starts again: port, folder, log, bounded waits.

Called by `redis.py` and `postgres.py`, which know those programs; this file knows processes. Synchronous on purpose: a
session fixture starts servers before any event loop runs, and a fault test may kill one from any thread.
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
NOBODY = 65534
"""The user and group that a server gets when the tests run as root: Postgres refuses to run as root."""

_DROP_ROOT = (
    "import os, sys; user = int(sys.argv[1]); os.setgroups([]); os.setgid(user); os.setuid(user); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
"""Becomes that user in the new process. Not `Popen(user=...)`, which forks: where gRPC runs, forked children crash."""

START_ATTEMPTS = 10
"""Tries to start. Another process may take the free port first; a killed Postgres lingers for a moment."""

POLL_SECONDS = 0.02
START_POLLS = 1500
"""One start may take START_POLLS * POLL_SECONDS = 30 s, in which the server answers or exits."""

STOP_SECONDS = 15.0
PROBE_SECONDS = 1.0
LOG_TAIL_LINES = 25


class ServerNotStarted(RuntimeError):
    """A test server could not be found or did not start. The message ends with the tail of its log."""


class ServerProcess:
    """One server on a loopback port of its own, with a folder of its own that lives until `close`.

    `start`, `stop` (orderly) and `kill` (SIGKILL) may follow each other: the port and the data stay the same,
    as a fault test needs. As a context manager it starts on entry, and on exit stops and removes the folder.
    """

    name = "server"
    unprivileged = False
    entry: Sequence[str] = ()
    """Put before every program, while still root: what leads into a network namespace, such as `ip netns exec NAME`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"grange-{self.name}-"))
        self.log = self.folder / "server.log"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        if self._drops_root():
            require_reachable(self.folder.parent, "set TMPDIR to a folder that every user can enter")
            os.chown(self.folder, NOBODY, NOBODY)

    def prepare(self) -> None:
        """Make the data folder; called once, before the first start."""

    def command(self) -> Sequence[str]:
        """The program and its arguments for the present port, staying in the foreground."""
        raise NotImplementedError

    def answers(self, pid: int) -> bool:
        """Whether the server of this process id, not a stranger on the same port, takes connections now."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """Whether the process is there; says nothing about whether it answers."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start; return when it takes connections. Raises `ServerNotStarted` with the tail of the log."""
        if self.running:
            return
        first = self.port == 0
        if first:
            self.prepare()
        for attempt in range(START_ATTEMPTS):
            time.sleep(attempt * POLL_SECONDS)  # what is left of a killed Postgres needs a moment to go away
            if first:
                self.port = free_port()
            if self._start_once():
                return
        raise ServerNotStarted(f"{self.name} did not start: {' '.join(self.command())}\n{self.log_tail()}")

    def stop(self) -> None:
        """Ask the server to end in order, and wait; kill it when it takes longer than STOP_SECONDS."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End the process at once, as a crash does (SIGKILL), and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop the server and remove its folder with everything it stored."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, command: Sequence[str]) -> None:
        """Run a preparing program to its end, as the server's user, its output going to the log."""
        process = self._spawn(command)
        if process.wait() != 0:
            raise ServerNotStarted(f"{' '.join(command)} failed\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines that the server wrote."""
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
        """True when it answers, False when it gave up by itself, which another port or a moment may mend."""
        process = self._spawn(self.command())
        for _ in range(START_POLLS):
            try:
                process.wait(POLL_SECONDS)  # a pause that ends at once when the server gives up
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
        """Start a program in the server's folder, in a session of its own: Ctrl-C is for the tests."""
        drop = (sys.executable, "-I", "-S", "-c", _DROP_ROOT, str(NOBODY)) if self._drops_root() else ()
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
    """A loopback port that was free a moment ago; whoever uses it must be ready to find it taken."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def reachable(path: Path) -> bool:
    """Whether a user who is neither owner nor group may enter the folder and every folder above it."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def require_reachable(path: Path, remedy: str) -> None:
    """Raise `ServerNotStarted` when an unprivileged server could not enter the folder."""
    if not reachable(path):
        raise ServerNotStarted(f"the unprivileged test server cannot enter {path}: {remedy}")


def find_program(candidates: Sequence[Callable[[], Path | None]], name: str, remedy: str) -> Path:
    """The first program that a candidate finds. Raises `ServerNotStarted` with the remedy: never a skip."""
    for candidate in candidates:
        found = candidate()
        if found is not None:
            return found
    raise ServerNotStarted(f"no {name} server found: {remedy}")


def files_in_wheel(package: str, pattern: str) -> list[Path]:
    """Files of an installed package, found without importing it."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return [path for folder in folders or () for path in Path(folder).glob(pattern)]
