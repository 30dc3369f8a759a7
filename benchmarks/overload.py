"""Goodput under overload: `python -m benchmarks.overload`, rows F27 and F28 of the fault matrix.

One silo in a process of its own, whose grains work for about a millisecond of processor time a call, and clients in
other processes. The capacity is measured first, by callers that wait for their answers. Then calls begin at a multiple
of it, whether or not earlier ones have ended, each with a time-out of a second. A call counts as good when its result
comes in time; every other one must end with an error that says whether it was executed.

`crowd` measures other callers beside one hot grain, and beside one flooding client.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.contestants.load import percentile
from grange import CallError, Grain, response_timeout
from grange.client import Client
from grange.silo import Silo

ROOT = Path(__file__).resolve().parent.parent
Figures = dict[str, Any]

_CLUSTER = "benchmarks"
_WORK = 0.001  # seconds of processor time of one call
_TICK = 0.01  # seconds between two bursts of an open load
_WINDOW = 1.0  # seconds of one window of the recovery


class Worker(Grain[int]):
    """Works for a moment, and answers."""

    @response_timeout(1)
    async def work(self) -> int:
        """Use about a millisecond of this thread's processor time."""
        until = time.thread_time() + _WORK
        turns = 0
        while time.thread_time() < until:
            turns += 1
        return turns

    @response_timeout(1)
    async def idle(self) -> int:
        """Take ten milliseconds without work, as a grain that waits for a store."""
        await asyncio.sleep(0.01)
        return 0


class Record:
    """The outcomes of calls: good ones with their latency in seconds, others by the name of the error."""

    def __init__(self) -> None:
        self.good: list[tuple[float, float]] = []  # (time of the end, latency)
        self.errors: Counter[str] = Counter()

    async def call(self, method: Callable[[], Awaitable[object]]) -> None:
        """Make one call and record it. Errors that are no CallError leave."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            await method()
        except CallError as error:
            self.errors[type(error).__name__] += 1
        else:
            self.good.append((clock(), clock() - began))

    def p99(self, begin: float = 0.0, end: float = float("inf")) -> float:
        """The 99th percentile in milliseconds of good calls that ended in this span of loop time; infinite: none."""
        latencies = sorted(latency for ended, latency in self.good if begin <= ended < end)
        return percentile(latencies, 0.99) * 1000 if latencies else float("inf")


async def closed(method: Callable[[int], Callable[[], Awaitable[object]]], callers: int, seconds: float) -> Record:
    """Callers that wait for each answer."""
    record, end = Record(), asyncio.get_running_loop().time() + seconds

    async def caller(number: int) -> None:
        while asyncio.get_running_loop().time() < end:
            await record.call(method(number))

    await asyncio.gather(*(caller(number) for number in range(callers)))
    return record


async def opened(method: Callable[[int], Callable[[], Awaitable[object]]], rate: float, seconds: float) -> Record:
    """Calls that begin at this rate, whether or not earlier ones have ended."""
    loop, record = asyncio.get_running_loop(), Record()
    began = loop.time()
    made, running = 0, set[asyncio.Task[None]]()
    while (now := loop.time()) - began < seconds:
        due = int((now - began) * rate)
        for number in range(made, min(due, made + 2000)):
            task = asyncio.create_task(record.call(method(number)))
            running.add(task)
            task.add_done_callback(running.discard)
        made = due
        await asyncio.sleep(_TICK)
    if running:
        await asyncio.wait(set(running))
    return record


async def storm(seconds: float, factor: float, after: float) -> Figures:
    """F27: overload for `seconds`, then half the capacity for `after` seconds."""
    with _served() as address:
        async with Client([address], cluster=_CLUSTER) as client:
            grains = [client.get_grain(Worker, number) for number in range(1000)]

            def method(number: int) -> Callable[[], Awaitable[object]]:
                return grains[number % len(grains)].work

            await closed(method, 20, min(2.0, seconds))
            peak = await closed(method, 20, min(5.0, seconds))
            capacity = len(peak.good) / min(5.0, seconds)
            calm = await opened(method, 0.5 * capacity, min(5.0, seconds))
            during = await opened(method, factor * capacity, seconds)
            began = asyncio.get_running_loop().time()
            later = await opened(method, 0.5 * capacity, after)
            usual = calm.p99()
            windows = [began + index * _WINDOW for index in range(int(after / _WINDOW))]
            normal = next((at - began for at in windows if later.p99(at, at + _WINDOW) <= 2 * usual), None)
            return {
                "capacity": round(capacity),
                "goodput": round(len(during.good) / seconds),
                "share": round(len(during.good) / seconds / capacity, 2),
                "errors": dict(during.errors),
                "p99_ms": {"before": round(usual, 1), "during": round(during.p99(), 1)},
                "normal_after_s": normal,
            }


async def crowd(seconds: float) -> Figures:
    """F28: the p99 of other callers alone, beside one hot grain, and beside one flooding client."""
    with _served() as address:
        async with Client([address], cluster=_CLUSTER) as client:
            grains = [client.get_grain(Worker, number) for number in range(50)]

            async def others() -> float:
                return (await closed(lambda number: grains[number].idle, 20, seconds)).p99()

            alone = await others()
            hot = client.get_grain(Worker, -1)
            flood = asyncio.create_task(opened(lambda _: hot.idle, 2000, seconds))
            beside_hot = await others()
            hot_outcomes = await flood
            with _process("flood", address, str(seconds + 2)) as flooding:
                assert flooding.stdout is not None
                flooding.stdout.readline()
                beside_flood = await others()
            return {
                "p99_ms": {
                    "alone": round(alone, 1),
                    "hot grain": round(beside_hot, 1),
                    "flood": round(beside_flood, 1),
                },
                "hot_errors": dict(hot_outcomes.errors),
            }


async def _flood(address: str, seconds: float) -> None:
    async with Client([address], cluster=_CLUSTER) as client:
        grains = [client.get_grain(Worker, 10_000 + number) for number in range(1000)]
        print("ready", flush=True)
        await opened(lambda number: grains[number % 1000].idle, 20_000, seconds)


async def _serve() -> None:
    async with Silo([Worker], cluster=_CLUSTER, membership="memory://", port=0, gateway_port=0) as silo:
        print(silo.gateway, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def _served() -> Iterator[str]:
    with _process("serve") as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@contextlib.contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.overload", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def measure(seconds: float = 60.0, factor: float = 5.0) -> Figures:
    """All figures. `seconds` is the length of the overload."""
    return {
        "storm": asyncio.run(storm(seconds, factor, 15.0)),
        "crowd": asyncio.run(crowd(min(10.0, seconds))),
    }


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the overload (60)")
    parser.add_argument("--factor", type=float, default=5.0, help="load as a multiple of the capacity (5)")
    options = parser.parse_args()
    words: list[str] = options.words
    if words[:1] == ["serve"]:
        asyncio.run(_serve())
    elif words[:1] == ["flood"]:
        asyncio.run(_flood(words[1], float(words[2])))
    else:
        print(json.dumps(measure(options.seconds, options.factor), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
