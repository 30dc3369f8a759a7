"""Starts, kills and stops the silo processes of one run, and leaves none behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

ROOT = Path(__file__).parents[2]
APP = "examples.flights.app:silo"
COMMAND = (sys.executable, "-m", "grange", "run", APP, "--port", "0", "--gateway-port", "0", "--http", "0")
ANNOUNCED = ("--json", "--stop-with-stdin")
"""Arguments: print the addresses as JSON, and end when this process has ended for any reason."""

STOP_TIMEOUT = 30.0
"""Seconds that a silo gets to stop in order."""

WATCH_PERIOD = 0.2
"""Seconds between two checks that all silos still run."""

LOG_LINES = 20
"""Lines of a silo's log that a failure shows."""


class SiloFailed(Exception):
    """A silo process ended too early, or did not end in order; the message shows the end of its log."""


@dataclass(frozen=True, eq=False)
class SiloProcess:
    """One silo: its name, its process, its gateway address, and its log file."""

    name: str
    process: subprocess.Popen[bytes]
    gateway: str
    log: Path


class SiloProcesses:
    """Starts silos of one cluster in `folder` with this configuration (`GRANGE_…`), and ends them all at exit."""

    def __init__(self, folder: Path, configuration: Mapping[str, str]) -> None:
        self._folder = folder
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GRANGE_")}
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._environment = {**inherited, **configuration, "PYTHONPATH": paths}
        self._started: list[subprocess.Popen[bytes]] = []
        self.running: list[SiloProcess] = []

    async def start(self) -> SiloProcess:
        """Start one more silo and wait until it is active. Raises SiloFailed if it ends instead."""
        name = f"silo-{len(self._started) + 1}"
        log = self._folder / f"{name}.log"
        process = self._spawn(name, log)
        assert process.stdout is not None, "it is a pipe"
        announced = await asyncio.to_thread(process.stdout.readline)
        if not announced:
            _fail(name, process, log, "ended before it was active")
        silo = SiloProcess(name, process, json.loads(announced)["gateway"], log)
        self.running.append(silo)
        return silo

    async def kill(self, silo: SiloProcess) -> None:
        """SIGKILL: the silo ends at once, without notice to the other silos."""
        self.running.remove(silo)
        silo.process.kill()
        await asyncio.to_thread(silo.process.wait)

    async def stop(self, silo: SiloProcess) -> None:
        """SIGTERM: it drains, leaves and ends. Raises SiloFailed if it does not end, or not with code 0."""
        self.running.remove(silo)
        silo.process.terminate()
        try:
            code = await asyncio.to_thread(silo.process.wait, STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            _fail(silo.name, silo.process, silo.log, f"did not stop within {STOP_TIMEOUT:g} s")
        if code != 0:
            _fail(silo.name, silo.process, silo.log, f"stopped with exit code {code}")

    async def watch(self) -> NoReturn:
        """Raise SiloFailed as soon as a silo ends that should run; never returns."""
        while True:
            for silo in self.running:
                if silo.process.poll() is not None:
                    _fail(silo.name, silo.process, silo.log, f"ended with exit code {silo.process.returncode}")
            await asyncio.sleep(WATCH_PERIOD)

    def _spawn(self, name: str, log: Path) -> subprocess.Popen[bytes]:
        # Not asyncio's subprocess: uvloop forks, `subprocess` does not, and a fork disturbs gRPC.
        with log.open("wb") as output:
            process = subprocess.Popen(
                (*COMMAND, "--name", name, *ANNOUNCED),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches this process only, which then ends the silos
            )
        self._started.append(process)
        return process

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running.clear()
        for process in self._started:
            process.kill()  # no effect on a process that has ended
        for process in self._started:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _fail(name: str, process: subprocess.Popen[bytes], log: Path, why: str) -> NoReturn:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    raise SiloFailed("\n".join((f"{name} (process {process.pid}) {why}; its log ends with:", *lines)))
