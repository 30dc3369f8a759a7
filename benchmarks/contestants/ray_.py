"""Ray: one process per actor, not one grain per object; a common alternative. Runs only when named.

A hundred processes do not fit on a small machine, so the hundred callers share a few asynchronous actors.
That favours Ray: each of its actors runs many calls at once, where a grain runs one.

Ray replaces 127.0.0.1 by an address that other machines can reach; 127.0.0.2 keeps it on the loopback.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, main

# Ray reads these once, during its import. The token is set here, because Ray would otherwise store one in the home
# folder.
_TOKEN = Path(sys.prefix) / "ray-token"
if not _TOKEN.exists():
    _TOKEN.touch(mode=0o600)
    _TOKEN.write_text(secrets.token_hex(32))
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(_TOKEN))

import ray  # noqa: E402

_ACTORS = 4
_LOOPBACK = "127.0.0.2"
_NAMESPACE = "benchmarks"


@ray.remote(num_cpus=0, max_concurrency=1000)
class Echo:
    """The empty actor."""

    async def echo(self, value: int) -> int:
        """Return the argument."""
        return value


class Actors(Target):
    """Handles of the few actors."""

    def __init__(self, handles: list["ray.actor.ActorHandle"]) -> None:
        self.handles = handles

    def echo(self, caller: int) -> Call:
        """Return the remote method of the actor this caller shares."""
        remote = self.handles[caller % len(self.handles)].echo.remote

        async def call(number: int) -> int:
            return await remote(number)

        return call


class Ray(Contestant):
    """The contestant: a local cluster; the driver joins it from another process."""

    packages = ("ray",)
    loop = "asyncio"

    @asynccontextmanager
    async def serve(self, storage: str | None, membership: str | None) -> AsyncIterator[str]:
        """Start a cluster of one machine and the actors."""
        context = _init(num_cpus=_ACTORS, include_dashboard=False, object_store_memory=100 << 20)
        actors = [Echo.options(name=f"hot-{n}", lifetime="detached").remote() for n in range(_ACTORS)]
        await asyncio.gather(*(actor.echo.remote(0) for actor in actors))
        try:
            yield context.address_info["gcs_address"]
        finally:
            ray.shutdown()

    @asynccontextmanager
    async def drive(self, address: str) -> AsyncIterator[Actors]:
        """Join that cluster as its driver."""
        _init(address=address)
        try:
            yield Actors([ray.get_actor(f"hot-{n}") for n in range(_ACTORS)])
        finally:
            ray.shutdown()


def _init(**options: Any) -> "ray.client_builder.ClientContext":
    return ray.init(namespace=_NAMESPACE, log_to_driver=False, _node_ip_address=_LOOPBACK, **options)


if __name__ == "__main__":
    main(Ray())
