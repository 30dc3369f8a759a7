"""grange, the code of this tree: one silo in a process of its own and a client, or two silos."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.contestants import load
from benchmarks.contestants.load import Call, Sample
from benchmarks.contestants.worker import Contestant, Target, main
from grange import Grain, PersistentState, response_timeout
from grange.client import Client, ClientOptions
from grange.silo import Silo

_CLUSTER = "benchmarks"
_TRIES = 10_000


class Echo(Grain):
    """The empty grain that every contestant has: it returns its argument."""

    async def echo(self, value: int) -> int:
        """Return the argument."""
        return value

    async def blob(self, value: bytes) -> bytes:
        """Return the argument."""
        return value

    async def process(self) -> int:
        """Return the id of the process that hosts this grain."""
        return os.getpid()


class Caller(Grain):
    """A grain that calls others, all in one turn."""

    async def process(self) -> int:
        """Return the id of the process that hosts this grain."""
        return os.getpid()

    @response_timeout(60)
    async def measure(self, keys: list[str], seconds: float) -> dict[str, float]:
        """Call the grains with these keys, one call of each in flight, and return the sample."""
        return await load.throughput([self.get_grain(Echo, key).echo for key in keys], seconds)


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

    def blob(self, caller: int) -> Call:
        """Return the method with bytes of one hot grain."""
        return self.host.get_grain(Echo, f"hot-{caller}").blob

    def fresh(self, series: str) -> Call:
        """Return a call that makes a reference and calls it for the first time."""
        get_grain = self.host.get_grain

        async def call(number: int) -> int:
            return await get_grain(Echo, f"{series}-{number}").echo(number)

        return call

    def write(self, caller: int) -> Call:
        """Return the writing method of one grain."""
        return self.host.get_grain(Counter, f"hot-{caller}").put

    async def from_grain(self, callers: int, seconds: float) -> Sample:
        """Let a grain of this process call grains of the other silo."""
        [here] = await self._keys(Caller, 1, here=True)
        there = await self._keys(Echo, callers, here=False)
        return await self.host.get_grain(Caller, here).measure(there, seconds)

    async def _keys(self, kind: type[Echo] | type[Caller], count: int, *, here: bool) -> list[str]:
        """Return keys of grains that this process hosts, or that it does not host."""
        found: list[str] = []
        for number in range(_TRIES):
            if (await self.host.get_grain(kind, f"key-{number}").process() == os.getpid()) is here:
                found.append(f"key-{number}")
            if len(found) == count:
                return found
        raise RuntimeError("too few grains are in one of the silos: did the second one join?")


class Grange(Contestant):
    """The contestant; `--road tcp` calls over a plain socket."""

    packages = ("grpcio", "protobuf", "msgspec", "uvloop")
    choices = {"road": ("grpc", "tcp")}

    @asynccontextmanager
    async def serve(self, storage: str | None, membership: str | None) -> AsyncIterator[str]:
        """Run a silo with default options."""
        async with self._silo(storage, membership) as silo:
            yield silo.gateway

    @asynccontextmanager
    async def drive(self, address: str) -> AsyncIterator[Grains]:
        """Connect as a client of that silo."""
        async with Client([address], cluster=_CLUSTER, options=ClientOptions(**self._road())) as client:
            yield Grains(client)

    @asynccontextmanager
    async def join(self, membership: str) -> AsyncIterator[Grains]:
        """Run a second silo and call from its grains."""
        async with self._silo(None, membership) as silo:
            yield Grains(silo)

    @asynccontextmanager
    async def alone(self, storage: str | None) -> AsyncIterator[Grains]:
        """Call the grains from within the silo's process."""
        async with self._silo(storage, None) as silo:
            yield Grains(silo)

    def _silo(self, storage: str | None, membership: str | None) -> Silo:
        return Silo(
            grains=[Echo, Caller, Counter],
            cluster=_CLUSTER,
            membership=membership or "memory://",
            storage=storage or "memory://",
            port=0,
            gateway_port=0,
            **self._road(),
        )

    def _road(self) -> dict[str, Any]:
        """Return the option of silo and client; none for gRPC, so that older trees can be measured."""
        return {} if self.chosen["road"] == "grpc" else {"road": self.chosen["road"]}


if __name__ == "__main__":
    main(Grange())
