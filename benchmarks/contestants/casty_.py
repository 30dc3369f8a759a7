"""casty: clustered virtual actors on a runtime in Rust, with actors in Python. The closest peer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import casty
from casty import ActorSystem, Askable, Client, Cluster, Context

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, free_port, main


@dataclass(frozen=True)
class Echo(Askable[int]):
    """The one message of the empty grain."""

    value: int


@dataclass(frozen=True)
class EchoBytes(Askable[bytes]):
    """The same message with bytes."""

    value: bytes


@casty.actor(initial=None, idle_after=timedelta(hours=1))
async def echo(ctx: Context[None, Echo | EchoBytes]) -> None:
    """The empty grain that every contestant has: it returns its argument."""
    async for message in ctx.inbox:
        message.reply_to.tell(message.value)


class Actors(Target):
    """References from one system or client."""

    def __init__(self, system: ActorSystem | Client) -> None:
        self.system = system

    def echo(self, caller: int) -> Call:
        """Return an ask of one hot actor."""
        ask = self.system.ref(echo, f"hot-{caller}").ask

        async def call(number: int) -> int:
            return await ask(Echo(number))

        return call

    def blob(self, caller: int) -> Call:
        """Return an ask with bytes."""
        ask = self.system.ref(echo, f"hot-{caller}").ask

        async def call(value: bytes) -> bytes:
            return await ask(EchoBytes(value))

        return call

    def fresh(self, series: str) -> Call:
        """Return a call that makes a reference and asks it for the first time."""
        reference = self.system.ref

        async def call(number: int) -> int:
            return await reference(echo, f"{series}-{number}").ask(Echo(number))

        return call


class Casty(Contestant):
    """The contestant: a cluster of one node, and a client that joins no cluster."""

    packages = ("casty",)

    @asynccontextmanager
    async def serve(self, storage: str | None, membership: str | None) -> AsyncIterator[str]:
        """Run the one node."""
        address = f"127.0.0.1:{free_port()}"
        async with ActorSystem(cluster=Cluster(bind=address)):
            yield address

    @asynccontextmanager
    async def drive(self, address: str) -> AsyncIterator[Actors]:
        """Connect as a client of that node."""
        async with Client(seeds=(address,)) as client:
            yield Actors(client)

    @asynccontextmanager
    async def alone(self, storage: str | None) -> AsyncIterator[Actors]:
        """Host actors here, in a system without a network."""
        async with ActorSystem() as system:
            yield Actors(system)


if __name__ == "__main__":
    main(Casty())
