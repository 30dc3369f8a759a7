"""grange, the code of this tree: one silo in a process of its own and a client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, main
from grange import Grain, PersistentState
from grange.client import Client
from grange.silo import Silo

_CLUSTER = "benchmarks"


class Echo(Grain):
    """The empty grain that every contestant has: it returns its argument."""

    async def echo(self, value: int) -> int:
        """Return the argument."""
        return value


@dataclass
class Counted:
    """The state of a counter."""

    count: int = 0


class Counter(Grain):
    """A grain that writes its state before it answers."""

    def __init__(self, state: PersistentState[Counted]) -> None:
        self.state = state

    async def put(self, value: int) -> int:
        """Change the state and write it."""
        self.state.value.count = value
        await self.state.write()
        return value


class Grains(Target):
    """References from a client, or from inside a silo."""

    def __init__(self, host: Client | Silo) -> None:
        self.host = host

    def echo(self, caller: int) -> Call:
        """Return the method of one hot grain."""
        return self.host.get_grain(Echo, f"hot-{caller}").echo

    def fresh(self, series: str) -> Call:
        """Return a call that makes a reference and calls it for the first time."""
        get_grain = self.host.get_grain

        async def call(number: int) -> int:
            return await get_grain(Echo, f"{series}-{number}").echo(number)

        return call

    def write(self, caller: int) -> Call:
        """Return the writing method of one grain."""
        return self.host.get_grain(Counter, f"hot-{caller}").put


class Grange(Contestant):
    """The contestant."""

    packages = ("grpcio", "protobuf", "msgspec", "uvloop")

    @asynccontextmanager
    async def serve(self, storage: str | None) -> AsyncIterator[str]:
        """Run a cluster of one silo, with default options."""
        async with _silo(storage) as silo:
            yield silo.gateway

    @asynccontextmanager
    async def drive(self, address: str) -> AsyncIterator[Grains]:
        """Connect as a client of that silo."""
        async with Client([address], cluster=_CLUSTER) as client:
            yield Grains(client)

    @asynccontextmanager
    async def alone(self, storage: str | None) -> AsyncIterator[Grains]:
        """Call the grains from within the silo's process."""
        async with _silo(storage) as silo:
            yield Grains(silo)


def _silo(storage: str | None) -> Silo:
    return Silo(
        grains=[Echo, Counter],
        cluster=_CLUSTER,
        membership="memory://",
        storage=storage or "memory://",
        port=0,
        gateway_port=0,
    )


if __name__ == "__main__":
    main(Grange())
