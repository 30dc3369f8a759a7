"""The silo that is attacked, with its ports, an honest client, and what an attack may leave behind."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grange import Grain
from grange.client import Client
from grange.observability.process import resident_bytes
from grange.servers.process import free_port
from grange.silo import Silo
from tests.hostile.forgeries import CANARY
from tests.hostile.places import PATIENCE, Place
from tests.hostile.protections import Protection

TOKEN = f"{CANARY}-admin"

SPARE_FILES = 20
"""Files that may be open more than before an attack: sockets that the system has not closed yet, caches."""

SPARE_BYTES = 150 * 2**20
"""Bytes by which the process may have grown after an attack. The attacker is in it, too."""


class Victim(Grain):
    """A grain that honest clients call."""

    async def ping(self) -> int:
        return 1

    async def echo(self, data: bytes) -> bytes:
        return data


@dataclass
class Target:
    """A running silo, and all that must be as before after an attack."""

    silo: Silo
    places: dict[str, Place]
    protection: Protection
    reports: list[dict[str, Any]] = field(default_factory=list)

    async def serves(self) -> None:
        """An honest client that comes now gets its answers in time."""
        honest = Client([self.silo.gateway], name="honest", **self.protection.client)
        async with asyncio.timeout(PATIENCE), honest as client:
            for key in range(10):
                assert await client.get_grain(Victim, f"honest-{key}").ping() == 1

    async def recovers(self, files: int, memory: int) -> None:
        """Files and memory return to what they were."""
        async with asyncio.timeout(PATIENCE):
            while open_files() > files + SPARE_FILES:
                await asyncio.sleep(0.05)
        gc.collect()
        assert resident_bytes() - memory < SPARE_BYTES

    def is_quiet(self) -> None:
        """No exception has reached the handler of the event loop."""
        assert [report for report in self.reports if not _is_of_a_closed_loop(report)] == []


@asynccontextmanager
async def target(folder: Path, protection: Protection) -> AsyncIterator[Target]:
    """A silo with all its ports open, on both roads."""
    ports = {name: free_port() for name in ("probe", "silo_socket", "gateway_socket")}
    silo = Silo(
        [Victim], data=folder, storage="memory://", membership="memory://", port=0, gateway_port=0, http=0, road="tcp",
        probe_port=ports["probe"], road_port=ports["silo_socket"], gateway_road_port=ports["gateway_socket"],
        admin_token=TOKEN, transport={"frame_timeout": 1.0, "connect_timeout": 1.0}, **protection.silo,
    )  # fmt: skip
    loop, reports = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: reports.append(context))
    async with silo:
        gateway, http = int(silo.gateway.rpartition(":")[2]), int(silo.http.rpartition(":")[2].strip("/"))
        places = [
            Place("silo", "grpc", silo.address.port, "silo"),
            Place("gateway", "grpc", gateway),
            Place("probe", "grpc", ports["probe"], "silo"),
            Place("silo-socket", "socket", ports["silo_socket"], "silo"),
            Place("gateway-socket", "socket", ports["gateway_socket"]),
            Place("admin", "http", http),
        ]
        yield Target(silo, {place.name: protection.of(place) for place in places}, protection, reports)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _is_of_a_closed_loop(context: dict[str, Any]) -> bool:
    """Whether gRPC's poller, which all loops share, had an event for a loop that an earlier test has closed."""
    return str(context.get("message", "")).startswith("Exception in callback PollerCompletionQueue._handle_events(")
