"""What a group of rows shares: a network, two stores, silos, and a watch on the table. Only what died is restarted."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.processes.faults.network import HUB, Network, network
from tests.processes.faults.silos import FaultSilo, FaultSilos
from tests.processes.faults.stores import Postgres, Redis, install_audit
from tests.processes.faults.watch import Watch
from tests.processes.silo_process import PATIENCE, ROOT

NAMES = ("a", "b", "c", "d", "e", "f")
"""Places for silos; the first three run from the start."""

ASKED_AT_LEAST = 3
"""Times that a question by a command of its own is put before it is given up: a busy machine takes seconds for one."""


class Stage:
    """The cluster under fault. Rows change it from outside; `settle` brings it back to three silos."""

    def __init__(self, folder: Path, net: Network, seed: int) -> None:
        self.folder = folder
        self.network = net
        self.rng = random.Random(seed)
        self.cluster = f"faults-{secrets.token_hex(3)}"
        self.size = 3

    @property
    def gateways(self) -> list[str]:
        """Of every silo that was started, so that a client finds whoever is there."""
        return [self.silos.of(name).gateway for name in NAMES[:3]]

    async def start(self, parts: AsyncExitStack) -> None:
        """Stores, silos, audit, watch; `parts` ends them in reverse."""
        self.redis, self.postgres = Redis(self.network), Postgres(self.network)
        for server in (self.redis, self.postgres):
            parts.push_async_callback(asyncio.to_thread, server.close)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in (self.redis, self.postgres)))
        self.stores = {"GRANGE_MEMBERSHIP": self.redis.url, "GRANGE_STORAGE": self.postgres.url}
        self.silos = FaultSilos(self.folder, self.network, self.stores, self.cluster)
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
        self.watch = Watch(client, self.cluster)
        watching = asyncio.create_task(self.watch.run())
        parts.push_async_callback(cancelled, watching)
        await asyncio.gather(*(self.silos.run(name) for name in NAMES[1 : self.size]))

    async def heal(self) -> None:
        """End whatever a row has left: cuts, stopped processes, stores that are down, silos that are odd or hang."""
        await self.network.heal()
        for silo in self.silos.running:
            silo.signal(signal.SIGCONT)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in (self.redis, self.postgres)))
        active = self.watch.sightings[-1].active() if self.watch.sightings else set[str]()
        for silo in self.silos.running:
            if silo.name not in NAMES[: self.size] or silo.diverted or str(getattr(silo, "address", "")) not in active:
                await silo.close()

    async def settle(self, within: float = PATIENCE) -> None:
        """Three silos run, and the table shows these and no others. Restarts who is gone, as operators would."""
        async with asyncio.timeout(within):
            gone = [name for name in NAMES[: self.size] if not self.silos.of(name).running]
            await asyncio.gather(*(self.silos.run(name) for name in gone))
        await self.shows(self.silos.running, within)

    async def shows(self, silos: Sequence[FaultSilo], within: float = PATIENCE) -> float:
        """Wait until the table has exactly these as active; returns when."""
        wanted = {str(silo.address) for silo in silos}
        try:
            return (await self.watch.until(lambda seen: seen.active() == wanted, within)).t
        except TimeoutError:
            statuses = dict(self.watch.sightings[-1].statuses) if self.watch.sightings else {}
            raise AssertionError(f"after {within} s the table does not show {sorted(wanted)}: {statuses}") from None

    async def status(self) -> Mapping[str, Any]:
        """What `grange status` says of every silo, by address."""
        gateways = [word for silo in self.silos.running for word in ("--gateway", silo.gateway)]
        process = await asyncio.create_subprocess_exec(
            *(*self.network.enter(HUB), sys.executable, "-m", "grange", "status", "--json", "--cluster", self.cluster),
            *gateways,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, complaint = await process.communicate()
        if process.returncode:
            raise AssertionError(f"grange status failed: {complaint.decode()}")
        return {silo["address"]: silo for silo in json.loads(told)["silos"]}

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
    """Cancel it and wait; what else it ended with is raised."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.result()


@asynccontextmanager
async def stage(folder: Path, seed: int) -> AsyncGenerator[Stage]:
    """A cluster of three for a group of rows; everything it started ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    async with network(NAMES) as net, AsyncExitStack() as parts:
        made = Stage(folder, net, seed)
        await made.start(parts)
        yield made
