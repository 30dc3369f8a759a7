"""casty: clustered virtual actors on a runtime in Rust, bodies in Python. The closest peer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import casty
from casty import ActorSystem, Askable, Client, Cluster, Context

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, free_port, main


@dataclass(frozen=True)
class Say(Askable[int]):
    """The one message of the empty grain."""

    value: int


@casty.actor(initial=None, idle_after=timedelta(hours=1))
async def echo(ctx: Context[None, Say]) -> None:
    """The empty grain every contestant has: it gives back what it gets."""
    async for message in ctx.inbox:
        message.reply_to.tell(message.value)


class Actors(Target):
    """References by way of one system or client."""

    def __init__(self, system: ActorSystem | Client) -> None:
        self.system = system

    def echo(self, caller: int) -> Call:
        """Answer an ask of one hot actor."""
        ask = self.system.ref(echo, f"hot-{caller}").ask

        async def call(number: int) -> int:
            return await ask(Say(number))

        return call

    def fresh(self, series: str) -> Call:
        """Answer a call that makes a reference and asks it for the first time."""
        reference = self.system.ref

        async def call(number: int) -> int:
            return await reference(echo, f"{series}-{number}").ask(Say(number))

        return call


class Casty(Contestant):
    """The contestant: a cluster of one node, and a client that joins nothing."""

    packages = ("casty",)

    @asynccontextmanager
    async def serve(self, storage: str | None) -> AsyncIterator[str]:
        """Be the one node."""
        address = f"127.0.0.1:{free_port()}"
        async with ActorSystem(cluster=Cluster(bind=address)):
            yield address

    @asynccontextmanager
    async def drive(self, address: str) -> AsyncIterator[Actors]:
        """Be a client of that node."""
        async with Client(seeds=(address,)) as client:
            yield Actors(client)

    @asynccontextmanager
    async def alone(self, storage: str | None) -> AsyncIterator[Actors]:
        """Host actors here, in a system without a network."""
        async with ActorSystem() as system:
            yield Actors(system)


if __name__ == "__main__":
    main(Casty())
