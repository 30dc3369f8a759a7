"""The silos of a fault test: started at their places, killed and stopped from outside, observed through their logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.processes.faults.certificates import Certificates
from tests.processes.faults.grains import CLOCK, NAME, TURNS
from tests.processes.faults.network import Network, steady_port
from tests.processes.silo_process import PATIENCE, ROOT, SiloProcess

APP = "tests.processes.faults.grains:silo"


TOKEN = {"GRANGE_ADMIN_TOKEN": "token-of-the-fault-rows"}
"""Of the silos and of the commands that ask them."""


class FaultSilo(SiloProcess):
    """One generation of one silo. Times are `time.monotonic()`, which all processes of a machine share."""

    name: str
    ended_at: float | None = None
    diverted: bool = False
    """Whether it uses other stores than the default ones, such as a proxy in front of them."""
    expected: frozenset[int] = frozenset({0})
    """Expected exit codes; a row adds the codes that its fault must cause."""

    def signal(self, number: int) -> None:
        """Send a signal. asyncio's `send_signal` polls the process, and could take its exit code from a waiter."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def close(self) -> None:
        """Kill it if it still runs, and wait until it is gone."""
        if self.running:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
        await self.ended()
        self.close_input()

    @property
    def identity(self) -> str:
        """The name with which the silo signs turns and states."""
        return f"{self.name}#{self.pid}"

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def code(self) -> int | None:
        return self._process.returncode

    def events(self, word: str) -> list[dict[str, Any]]:
        """Log lines with this `event`, each with its monotonic time as `t`."""
        return [line for line in self.lines() if line.get("event") == word]

    def lines(self) -> list[dict[str, Any]]:
        """All JSON log lines."""
        found: list[dict[str, Any]] = []
        for text in self.logged:
            if text.startswith("{"):
                line = json.loads(text)
                line["t"] = monotonic(line["ts"])
                found.append(line)
        return found

    async def watch_end(self) -> None:
        """Record the time when the process ended."""
        await self._process.wait()
        self.ended_at = time.monotonic()


def monotonic(logged_time: str) -> float:
    """Convert the wall-clock time of a log line to monotonic time; exact unless the clock is set."""
    return time.monotonic() - (time.time() - datetime.fromisoformat(logged_time).timestamp())


class FaultSilos:
    """Starts silos by name, always on the same endpoint, so that a restart is a new generation of the same silo."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        stores: Mapping[str, str],
        cluster: str,
        certificates: Certificates | None = None,
    ) -> None:
        self._folder = folder
        self._certificates = certificates
        self._network = network
        self._stores = stores
        self._cluster = cluster
        self._ports: dict[str, tuple[int, int]] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self.lives: list[FaultSilo] = []
        self.turns = folder / "turns"
        self.turns.mkdir(parents=True, exist_ok=True)

    async def start(self, name: str, **environment: str) -> FaultSilo:
        """Start it without waiting. `environment` overrides the stores' URLs."""
        port, gateway = self._ports.setdefault(name, self._choose_ports())
        arguments = (
            *("run", APP, "--host", self._network.host(name), "--port", str(port), "--gateway-port", str(gateway)),
            *("--http", "off"),
            *("--cluster", self._cluster, "--name", name, "--json", "--log-json", "--stop-with-stdin"),
            *(("--insecure",) if self._certificates is None else ()),
        )
        tls = {} if self._certificates is None else self._certificates.environment(name)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GRANGE_")}
        variables = {"PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", NAME: name, TURNS: str(self.turns)}
        variables[CLOCK] = str(self._clock(name))
        process = await asyncio.create_subprocess_exec(
            *(*self._network.enter(name), sys.executable, "-m", "grange", *arguments),
            cwd=self._folder,
            env={**inherited, **variables, **TOKEN, **self._stores, **tls, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        silo = FaultSilo(process)
        silo.name, silo.diverted = name, bool(environment)
        self.lives.append(silo)
        watcher = asyncio.create_task(silo.watch_end())
        self._watchers.add(watcher)
        return silo

    def set_clock(self, name: str, error: float) -> None:
        """Set the wall clock of the silo at this place: `error` is in seconds, 0 is right. It lasts over restarts."""
        new = self._clock(name).with_suffix(".new")
        new.write_text(str(error))
        new.replace(self._clock(name))

    async def run(self, name: str, **environment: str) -> FaultSilo:
        """Start it and wait until it is active."""
        silo = await self.start(name, **environment)
        await silo.active()
        return silo

    @property
    def running(self) -> list[FaultSilo]:
        return [silo for silo in self.lives if silo.running]

    def of(self, name: str) -> FaultSilo:
        """Its present generation, or the last."""
        return next(silo for silo in reversed(self.lives) if silo.name == name)

    async def close(self) -> None:
        """End every process and keep what it logged in the folder."""
        await asyncio.gather(*(silo.close() for silo in self.lives))
        await asyncio.gather(*self._watchers)
        for number, silo in enumerate(self.lives):
            (self._folder / f"{number:02}-{silo.name}.log").write_text(silo.errors + "\n")

    def _clock(self, name: str) -> Path:
        return self._folder / f"{name}.clock"

    def _choose_ports(self) -> tuple[int, int]:
        if self._network.can_cut:
            return 11111, 30000
        return steady_port(), steady_port()


async def ended(silo: FaultSilo, within: float = PATIENCE) -> int:
    """Wait for its end; returns the exit code. Raises TimeoutError."""
    async with asyncio.timeout(within):
        return await silo._process.wait()  # the end of the process, not of its output
