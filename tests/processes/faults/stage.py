"""The stage of a group of rows: a network, two stores, silos, and an observer of the table. Only dead parts restart."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from tests.processes.faults.certificates import Certificates
from tests.processes.faults.network import HUB, Loopback, Network, network
from tests.processes.faults.silos import TOKEN, FaultSilo, FaultSilos
from tests.processes.faults.stores import Postgres, Redis, install_audit
from tests.processes.faults.table_observer import TableObserver
from tests.processes.silo_process import PATIENCE, ROOT

NAMES = ("a", "b", "c", "d", "e", "f")
"""Places of silos; the first three run from the start."""

ASKED_AT_LEAST = 3
"""Least number of status commands before the wait fails: on a busy machine one command takes seconds."""


class Stage:
    """The cluster under fault. Rows change it from outside; `settle` brings it back to three silos."""

    def __init__(self, folder: Path, net: Network, seed: int, *, secured: bool = False) -> None:
        self.folder = folder
        self.network = net
        self.rng = random.Random(seed)
        self.cluster = f"faults-{secrets.token_hex(3)}"
        self.certificates = Certificates(folder / "tls", self.cluster) if secured else None
        self.size = 3

    @property
    def gateways(self) -> list[str]:
        """The gateways of all silos that were started, so that a client finds those that run."""
        return [self.silos.of(name).gateway for name in NAMES[:3]]

    async def start(self, parts: AsyncExitStack) -> None:
        """Start stores, silos, audit and observer; `parts` ends them in reverse."""
        self.redis, self.postgres = Redis(self.network), Postgres(self.network)
        for server in (self.redis, self.postgres):
            parts.push_async_callback(asyncio.to_thread, server.close)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in (self.redis, self.postgres)))
        self.stores = {"GRANGE_MEMBERSHIP": self.redis.url, "GRANGE_STORAGE": self.postgres.url}
        self.silos = FaultSilos(self.folder, self.network, self.stores, self.cluster, self.certificates)
        parts.push_async_callback(self.silos.close)
        await self.silos.run(NAMES[0])
        connection = await self.postgres.connect()
        await install_audit(connection)
        client = self.redis.client()
        self.versions = {
            "postgres server": await connection.fetchval("SHOW server_version"),
            "redis server": (await client.info("server"))["redis_version"],
        }
        await connection.close()
        parts.push_async_callback(client.aclose)
        self.observer = TableObserver(client, self.cluster)
        watching = asyncio.create_task(self.observer.run())
        parts.push_async_callback(cancelled, watching)
        await asyncio.gather(*(self.silos.run(name) for name in NAMES[1 : self.size]))

    async def heal(self) -> None:
        """Repair the effects of a row: cuts, stopped processes, wrong clocks, stores that are down, extra silos."""
        await self.network.heal()
        for name in NAMES:
            self.silos.set_clock(name, 0.0)
        for silo in self.silos.running:
            silo.signal(signal.SIGCONT)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in (self.redis, self.postgres)))
        active = self.observer.sightings[-1].active() if self.observer.sightings else set[str]()
        for silo in self.silos.running:
            if silo.name not in NAMES[: self.size] or silo.diverted or str(getattr(silo, "address", "")) not in active:
                await silo.close()

    async def settle(self, within: float = PATIENCE) -> None:
        """Restart missing silos, and wait until three silos run and the table shows exactly these."""
        async with asyncio.timeout(within):
            gone = [name for name in NAMES[: self.size] if not self.silos.of(name).running]
            await asyncio.gather(*(self.silos.run(name) for name in gone))
        await self.shows(self.silos.running, within)

    async def shows(self, silos: Sequence[FaultSilo], within: float = PATIENCE) -> float:
        """Wait until the table shows exactly these as active; returns the time."""
        wanted = {str(silo.address) for silo in silos}
        try:
            return (await self.observer.until(lambda seen: seen.active() == wanted, within)).t
        except TimeoutError:
            statuses = dict(self.observer.sightings[-1].statuses) if self.observer.sightings else {}
            raise AssertionError(f"after {within} s the table does not show {sorted(wanted)}: {statuses}") from None

    async def status(self) -> Mapping[str, Any]:
        """The output of `grange status` for every silo, by address."""
        return {silo["address"]: silo for silo in (await self.command("status"))["silos"]}

    async def command(self, *words: str) -> Any:
        """What a command prints as JSON that asks the running silos."""
        options = [word for silo in self.silos.running for word in ("--gateway", silo.gateway)]
        options += [] if self.certificates is None else self.certificates.options()
        process = await asyncio.create_subprocess_exec(
            *(*self.network.enter(HUB), sys.executable, "-m", "grange", *words, "--json", "--cluster", self.cluster),
            *options,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **TOKEN},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, error_output = await process.communicate()
        if process.returncode:
            raise AssertionError(f"grange {' '.join(words)} failed: {error_output.decode()}")
        return json.loads(printed)

    async def agreed(self, within: float = 10.0) -> float:
        """Wait until every running silo answers with the same version; returns the seconds it took."""
        began, answers, asked = time.monotonic(), {}, 0
        while asked < ASKED_AT_LEAST or time.monotonic() - began < within:
            asked += 1
            answers = await self.status()
            versions = {answer.get("version") for answer in answers.values()}
            if len(answers) == len(self.silos.running) and len(versions) == 1 and None not in versions:
                return time.monotonic() - began
            await asyncio.sleep(0.2)
        raise AssertionError(f"after {within} s the silos do not agree: {answers}")


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait; an error of the task is raised."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.result()


@asynccontextmanager
async def stage(folder: Path, seed: int, *, secured: bool = False, one_host: bool = False) -> AsyncGenerator[Stage]:
    """Run a cluster of three for a group of rows; all its processes end with the block.

    It uses TLS if `secured`. Silos share 127.0.0.1 if `one_host`, else each has a namespace where that is possible.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = nullcontext(Loopback()) if one_host else network(NAMES)
    async with place as net, AsyncExitStack() as parts:
        made = Stage(folder, net, seed, secured=secured)
        await made.start(parts)
        yield made
