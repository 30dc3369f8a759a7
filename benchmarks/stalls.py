"""The longest hold of the event loop under loads that arrive in one moment: `python -m benchmarks.stalls`.

Each load runs in a process of its own, with the garbage collector as `grange run` sets it. Most use one silo of a
`TestCluster` in virtual time, so that an idle time-out takes no time; those with `far` in their name use gRPC on the
loopback interface, with a second process at the other end.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.holds import Holds, watched
from grange import CallError, Grain, response_timeout
from grange.cli.garbage import settle
from grange.client import Client
from grange.proto.acts import ACT, Act, Action
from grange.proto.ids import GrainAddress, GrainId
from grange.proto.inspection import FindActivations
from grange.proto.management import encode
from grange.silo import Silo
from grange.testing import TestCluster

ROOT = Path(__file__).resolve().parent.parent
TARGET_MS = 50.0
Figures = dict[str, Any]

_CLUSTER = "benchmarks"
_PORTION = 500  # first calls that the harness itself makes in one moment


class Empty(Grain[int]):
    """An empty grain."""

    async def ping(self) -> int:
        """Return at once."""
        return 0


class Stuck(Grain[int]):
    """A grain that answers nothing in time."""

    @response_timeout(5)
    async def ping(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


class Calls:
    """Calls that begin in one moment and are to fail. `ended` is set by the last one, without a walk over all."""

    def __init__(self, calls: Iterable[Awaitable[object]]) -> None:
        self.ended = asyncio.Event()
        self.errors = 0
        self._tasks = {asyncio.ensure_future(self._run(call)) for call in calls}
        self._left = len(self._tasks)

    async def _run(self, call: Awaitable[object]) -> None:
        try:
            await call
        except CallError:
            self.errors += 1
        self._left -= 1
        if not self._left:
            self.ended.set()

    def checked(self, holds: Holds) -> Figures:
        """The figures. Raises AssertionError unless every call raised a CallError."""
        assert self.errors == len(self._tasks), f"{self.errors} of {len(self._tasks)} calls failed"
        return {**holds.document(), "calls": self.errors}


def measure(only: Iterable[str] = (), factor: float = 1.0) -> dict[str, Figures]:
    """Run each load in a process of its own. `factor` scales the number of calls, activations and entries."""
    results: dict[str, Figures] = {}
    for name in only or LOADS:
        command = [sys.executable, "-m", "benchmarks.stalls", "--here", name, "--factor", str(factor)]
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=1800)
        if done.returncode:
            results[name] = {"error": done.stderr.strip().splitlines()[-1:]}
        else:
            results[name] = json.loads(done.stdout)
    return results


# --- loads in one process ---------------------------------------------------------------------------------------------


async def expire_near(many: Callable[[int], int]) -> Figures:
    """Ten thousand calls within a silo expire together."""
    async with TestCluster([Stuck], silos=1) as cluster:
        silo = cluster.silos[0]
        calls = Calls(silo.get_grain(Stuck, n % 100).ping() for n in range(many(10_000)))
        await cluster.advance(1)
        with watched() as holds:
            await calls.ended.wait()
        return calls.checked(holds)


async def close_silo(many: Callable[[int], int]) -> Figures:
    """A silo is killed while ten thousand calls within it are in flight."""
    async with TestCluster([Stuck], silos=1) as cluster:
        silo = cluster.silos[0]
        calls = Calls(silo.get_grain(Stuck, n % 100).ping() for n in range(many(10_000)))
        await cluster.advance(1)
        with watched() as holds:
            await cluster.kill(silo)
            await calls.ended.wait()
        return calls.checked(holds)


async def first_calls_near(many: Callable[[int], int]) -> Figures:
    """Twenty thousand first calls within a silo, in one moment. Making the tasks is the application's part."""
    async with TestCluster([Empty], silos=1) as cluster:
        silo = cluster.silos[0]
        await silo.get_grain(Empty, -1).ping()
        calls = [asyncio.ensure_future(silo.get_grain(Empty, n).ping()) for n in range(many(20_000))]
        await asyncio.sleep(0)  # the first step of each task is made in this iteration
        with watched() as holds:
            await asyncio.gather(*calls)
        return holds.document()


async def kill_activations(many: Callable[[int], int]) -> Figures:
    """A silo with 100,000 idle activations is killed."""
    async with TestCluster([Empty], silos=1) as cluster:
        await _fill(cluster.silos[0], many(100_000))
        with watched() as holds:
            await cluster.kill(cluster.silos[0])
            await asyncio.sleep(0.1)
        return holds.document()


async def stop_activations(many: Callable[[int], int]) -> Figures:
    """A silo with 100,000 idle activations stops in order, beside another silo."""
    async with TestCluster([Empty], silos=2) as cluster:
        await _fill(cluster.silos[0], many(100_000))
        with watched() as holds:
            await cluster.stop(cluster.silos[0])
        return holds.document()


async def population(many: Callable[[int], int]) -> Figures:
    """A million idle activations: list them, count them, collect them by command, and by their idle time-out."""
    figures: Figures = {}
    async with TestCluster([Empty], silos=1) as cluster:
        silo = cluster.silos[0]
        with watched() as holds:
            await _fill(silo, many(1_000_000))
        figures["fill"] = holds.document()
        management = silo.management
        with watched() as holds:
            await silo.inspection.find(FindActivations())
        figures["list"] = holds.document()
        with watched() as holds:
            await silo.inspection.find(FindActivations("empty", sort="age"))
        figures["list_type"] = holds.document()
        with watched() as holds:
            await management._answer_status(b"")
        figures["status"] = holds.document()
        with watched() as holds:
            await cluster.advance(60)  # the consistency checker, gossip, probes
        figures["minute"] = holds.document()
        with watched() as holds:
            gc.collect()
        figures["full_pass_ms"] = holds.document()["collector_ms"]
        with watched() as holds:
            await cluster.advance(1000)
        figures["collect_idle"] = {**holds.document(), "left": cluster.count()}
    return figures


async def collect_command(many: Callable[[int], int]) -> Figures:
    """An operator collects a million idle activations."""
    async with TestCluster([Empty], silos=1) as cluster:
        silo = cluster.silos[0]
        await _fill(silo, many(1_000_000))
        await cluster.advance(5)
        with watched() as holds:
            act = Act(Action.COLLECT, values='{"idle": 1}', reason="a benchmark")
            await cluster.client.ask(cluster.client.gateways[0], ACT, encode(act))
            await cluster.advance(10)
        return {**holds.document(), "left": cluster.count()}


async def hand_over(many: Callable[[int], int]) -> Figures:
    """A million directory entries change their owner: half when a silo joins, half when it stops."""
    async with TestCluster([Empty], silos=1) as cluster:
        silo = cluster.silos[0]
        partition = silo.directory.partition
        for number in range(many(1_000_000)):
            partition.register(GrainAddress(GrainId("empty", str(number)), silo.address, number + 1, 1))
            if number % 1000 == 0:
                await asyncio.sleep(0)
        figures: Figures = {}
        gc.collect()
        gc.freeze()
        with watched() as holds:
            other = await cluster.add_silo()
            await cluster.advance(2)
        figures["join"] = {**holds.document(), "entries": len(other.directory.partition)}
        with watched() as holds:
            await cluster.stop(other)
            await cluster.advance(2)
        figures["stop"] = {**holds.document(), "entries": len(partition)}
        return figures


# --- loads between two processes --------------------------------------------------------------------------------------


async def expire_far(many: Callable[[int], int]) -> Figures:
    """Ten thousand calls of a client expire together: the client's side."""
    async with _other("serve") as (address, _), Client([address], cluster=_CLUSTER) as client:
        calls = await _stuck_calls(client, many(10_000))
        with watched() as holds:
            await calls.ended.wait()
        return calls.checked(holds)


async def expire_far_silo(many: Callable[[int], int]) -> Figures:
    """Ten thousand calls of a client expire together: the silo's side."""
    return await _silo_side("expire", many(10_000))


async def close_client(many: Callable[[int], int]) -> Figures:
    """A client closes while ten thousand of its calls are in flight."""
    async with _other("serve") as (address, _):
        with contextlib.ExitStack() as stack:
            async with Client([address], cluster=_CLUSTER) as client:
                calls = await _stuck_calls(client, many(10_000))
                holds = stack.enter_context(watched())
            await calls.ended.wait()
        return calls.checked(holds)


async def lose_silo(many: Callable[[int], int]) -> Figures:
    """The only silo is killed while ten thousand calls of a client are in flight."""
    async with _other("serve") as (address, process), Client([address], cluster=_CLUSTER) as client:
        calls = await _stuck_calls(client, many(10_000))
        with watched() as holds:
            process.kill()
            await calls.ended.wait()
        return calls.checked(holds)


async def first_calls_far(many: Callable[[int], int]) -> Figures:
    """Twenty thousand first calls of a client, in one moment: the silo's side."""
    return await _silo_side("first", many(20_000))


async def _silo_side(load: str, count: int) -> Figures:
    async with _silo() as silo:
        with watched() as holds:
            async with _other("drive", silo.gateway, load, str(count)) as (_, process):
                await process.wait()
        return {**holds.document(), "activations": len(list(silo.catalog.activations()))}


async def _stuck_calls(client: Client, count: int) -> Calls:
    calls = Calls(client.get_grain(Stuck, n % 100).ping() for n in range(count))
    await asyncio.sleep(2)
    return calls


async def _drive(address: str, load: str, count: int) -> None:
    async with Client([address], cluster=_CLUSTER) as client:
        print("ready", flush=True)
        if load == "first":
            await asyncio.gather(*(client.get_grain(Empty, n).ping() for n in range(count)))
        else:
            calls = (client.get_grain(Stuck, n % 100).ping() for n in range(count))
            await asyncio.gather(*calls, return_exceptions=True)


async def _serve() -> None:
    async with _silo() as silo:
        print(silo.gateway, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def _silo() -> Silo:
    return Silo([Empty, Stuck], cluster=_CLUSTER, membership="memory://", storage="memory://", port=0, gateway_port=0)


@contextlib.asynccontextmanager
async def _other(*arguments: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Another process of this file. Gives the line that it prints first; it is killed at the end of the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.stalls", *arguments, cwd=ROOT, env=_environment(), stdin=pipe, stdout=pipe
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip(), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


# --- common -----------------------------------------------------------------------------------------------------------


async def _fill(silo: Silo, count: int) -> None:
    for begin in range(0, count, _PORTION):
        await asyncio.gather(*(silo.get_grain(Empty, n).ping() for n in range(begin, min(begin + _PORTION, count))))


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


LOADS: dict[str, Callable[[Callable[[int], int]], Awaitable[Figures]]] = {
    load.__name__: load
    for load in (
        expire_near, expire_far, expire_far_silo, first_calls_near, first_calls_far, close_client, close_silo,
        lose_silo, kill_activations, stop_activations, population, collect_command, hand_over,
    )
}  # fmt: skip


def main() -> int:
    """Run the loads and print their figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stalls", description=__doc__)
    parser.add_argument("words", nargs="*", help="names of loads (all)")
    parser.add_argument("--here", metavar="LOAD", help="run one load in this process")
    parser.add_argument("--factor", type=float, default=1.0, help="scales the number of calls and activations")
    options = parser.parse_args()
    words: list[str] = options.words
    if words[:1] == ["serve"]:
        asyncio.run(_serve())
    elif words[:1] == ["drive"]:
        asyncio.run(_drive(words[1], words[2], int(words[3])))
    elif options.here:
        settle(gc.get_threshold())
        print(json.dumps(asyncio.run(LOADS[options.here](lambda count: int(count * options.factor)))))
    else:
        print(json.dumps(measure(words, options.factor), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
