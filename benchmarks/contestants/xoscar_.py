"""xoscar: actors in pools, created and placed by the program. A peer for the wire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import xoscar

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, free_port, main

_GRAINS = 1000


class Echo(xoscar.Actor):
    """The empty grain that every contestant has: it returns its argument."""

    async def echo(self, value: int) -> int:
        """Return the argument."""
        return value


class Actors(Target):
    """References into one pool."""

    def __init__(self, address: str, references: list[xoscar.ActorRefType[Echo]]) -> None:
        self.address = address
        self.references = references

    def echo(self, caller: int) -> Call:
        """Return the method of one hot actor."""
        return self.references[caller].echo

    def fresh(self, series: str) -> Call:
        """Return a call that creates an actor, as its users must, and calls it for the first time."""

        async def call(number: int) -> int:
            actor = await xoscar.create_actor(Echo, uid=f"{series}-{number}", address=self.address)
            return await actor.echo(number)

        return call


class Xoscar(Contestant):
    """The contestant: one main pool in one process, the default in one process."""

    packages = ("xoscar", "uvloop")

    @asynccontextmanager
    async def serve(self, storage: str | None, membership: str | None) -> AsyncIterator[str]:
        """Host the hot actors."""
        pool = await xoscar.create_actor_pool(f"127.0.0.1:{free_port()}", n_process=0)
        async with pool:
            for number in range(_GRAINS):
                await xoscar.create_actor(Echo, uid=f"hot-{number}", address=pool.external_address)
            yield pool.external_address

    @asynccontextmanager
    async def drive(self, address: str) -> AsyncIterator[Actors]:
        """Find the hot actors from another process."""
        yield Actors(address, [await xoscar.actor_ref(f"hot-{n}", address=address) for n in range(_GRAINS)])

    @asynccontextmanager
    async def alone(self, storage: str | None) -> AsyncIterator[Actors]:
        """Host actors here."""
        async with self.serve(storage, None) as address, self.drive(address) as actors:
            yield actors


if __name__ == "__main__":
    main(Xoscar())
