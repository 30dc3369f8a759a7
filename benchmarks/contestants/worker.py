"""The process side of the protocol between a contestant and the harness: one JSON object per line.

A contestant's file ends in `main(TheContestant())` and is run as `python -m benchmarks.contestants.X ROLE`:

    serve [--storage URL]     hosts grains until standard input ends
    drive --address ADDRESS   calls them from another process
    alone [--storage URL]     calls grains inside its own process

First line out: `{"ready": address or null, "python": ..., "loop": ..., "versions": {...}}`. Then a line in,
such as `{"measure": "throughput", "callers": 100, "seconds": 2}` is answered by `{"value": ...}` or
`{"error": "..."}`. Standard output is used by the protocol only; the output of libraries goes to standard error.
The end of standard input ends the process.
"""

import argparse
import asyncio
import importlib.metadata
import importlib.util
import json
import os
import platform
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from benchmarks.contestants import load


class Target:
    """The calls that a role offers to the loops of `load.py`. A contestant omits those it cannot make."""

    def echo(self, caller: int) -> load.Call:
        """Return a call that returns its argument, on the grain that belongs to this caller."""
        raise NotImplementedError

    def fresh(self, series: str) -> load.Call:
        """Return a call that makes the first call on the key numbered by its argument."""
        raise NotImplementedError

    def write(self, caller: int) -> load.Call:
        """Return a call that changes and writes the state of the grain that belongs to this caller."""
        raise NotImplementedError


class Contestant:
    """One program that is measured. A contestant omits the roles that it does not have.

    `packages` are the distributions whose versions the results name; `loop` is its faster event loop: uvloop
    or asyncio.
    """

    packages: Sequence[str] = ()
    loop = "uvloop"

    def serve(self, storage: str | None) -> AbstractAsyncContextManager[str]:
        """Host grains while entered; the value is the address for `drive`."""
        raise NotImplementedError

    def drive(self, address: str) -> AbstractAsyncContextManager[Target]:
        """Reach the grains of another process while entered."""
        raise NotImplementedError

    def alone(self, storage: str | None) -> AbstractAsyncContextManager[Target]:
        """Host and call grains in this process while entered."""
        raise NotImplementedError


def main(contestant: Contestant) -> None:
    """Run the role named on the command line until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["serve", "drive", "alone"])
    parser.add_argument("--address", default="")
    parser.add_argument("--storage")
    options = parser.parse_args()
    answers = os.dup(1)
    os.dup2(2, 1)
    with asyncio.Runner(loop_factory=_loop_factory(contestant.loop)) as runner:
        runner.run(_play(contestant, options, answers))


def free_port() -> int:
    """Return a loopback port that was free a moment ago, for libraries that need a fixed one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _loop_factory(wanted: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if wanted != "uvloop" or importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory


async def _play(contestant: Contestant, options: argparse.Namespace, answers: int) -> None:
    if options.role == "serve":
        async with contestant.serve(options.storage) as address:
            _send(answers, _introduction(contestant) | {"ready": address})
            await asyncio.to_thread(sys.stdin.read)
        return
    drives = options.role == "drive"
    async with contestant.drive(options.address) if drives else contestant.alone(options.storage) as target:
        _send(answers, _introduction(contestant) | {"ready": None})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _send(answers, await _measure(target, json.loads(line)))


async def _measure(target: Target, order: dict[str, Any]) -> dict[str, Any]:
    try:
        return await _figure(target, order)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def _figure(target: Target, order: dict[str, Any]) -> Awaitable[load.Sample]:
    match order["measure"]:
        case "throughput":
            return load.throughput([target.echo(i) for i in range(order["callers"])], order["seconds"])
        case "latency":
            return load.latency(target.echo(0), order["seconds"])
        case "local":
            return load.local(target.echo(0), order["seconds"])
        case "activation":
            return load.activation(target.fresh("activation"), order["count"])
        case "memory":
            return load.memory(target.fresh("memory"), order["count"])
        case "state":
            return load.throughput([target.write(i) for i in range(order["callers"])], order["seconds"])
        case unknown:
            raise ValueError(f"no such measure: {unknown}")


def _introduction(contestant: Contestant) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "loop": type(asyncio.get_running_loop()).__module__.split(".")[0],
        "versions": {name: importlib.metadata.version(name) for name in contestant.packages},
    }


def _send(answers: int, answer: dict[str, Any]) -> None:
    os.write(answers, json.dumps(answer).encode() + b"\n")
