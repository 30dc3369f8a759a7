"""nigrains: grains in one process, arguments not isolated. The peer for local calls and activation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nigrains import Grain, GrainId, Runtime

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, main


class Echo(Grain):
    """The empty grain that every contestant has: it returns its argument."""

    grain_type = "echo"

    def __init__(self, grain_id: GrainId) -> None:
        super().__init__(grain_id)

    async def echo(self, value: int) -> int:
        """Return the argument."""
        return value


class Grains(Target):
    """Calls into one runtime through typed references, as in its README."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def echo(self, caller: int) -> Call:
        """Return the method of one hot grain."""
        return self.runtime.reference(Echo, f"hot-{caller}").echo

    def fresh(self, series: str) -> Call:
        """Return a call that makes a reference and calls it for the first time."""
        reference = self.runtime.reference

        async def call(number: int) -> int:
            return await reference(Echo, f"{series}-{number}").echo(number)

        return call


class Nigrains(Contestant):
    """The contestant. It has no server: only `alone`."""

    packages = ("nigrains",)

    @asynccontextmanager
    async def alone(self, storage: str | None) -> AsyncIterator[Grains]:
        """Host grains here; no grain becomes idle during a run."""
        runtime = Runtime()
        runtime.register(Echo)
        async with runtime:
            yield Grains(runtime)


if __name__ == "__main__":
    main(Nigrains())
