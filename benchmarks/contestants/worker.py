"""The process side of the protocol between a contestant and the harness: one JSON object per line.

A contestant's file ends in `main(TheContestant())` and is run as `python -m benchmarks.contestants.X ROLE`:

    serve [--storage URL] [--membership URL]   hosts grains
    drive --address ADDRESS                    calls them from another process
    join --membership URL                      a second silo, whose grains call those of the first
    alone [--storage URL]                      calls grains inside its own process

First line out: `{"ready": address or null, "python": ..., "loop": ..., "versions": {...}}`. Then a line in,
such as `{"measure": "throughput", "callers": 100, "seconds": 2}` is answered by `{"value": ...}` or
`{"error": "..."}`. `watch` and `watched` are orders of every role (`watch.py`). Standard output is used by the
protocol only; the output of libraries goes to standard error. The end of standard input ends the process.
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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from benchmarks.contestants import load
from benchmarks.contestants.watch import Watch


class Target:
    """The calls that a role offers to the loops of `load.py`. A contestant omits those it cannot make."""

    def echo(self, caller: int) -> load.Call:
        """Return a call that returns its argument, on the grain that belongs to this caller."""
        raise NotImplementedError

    def blob(self, caller: int) -> load.Call:
        """Return a call that returns its argument, which is bytes; the same as `echo` if types do not matter."""
        return self.echo(caller)

    def from_grain(self, callers: int, seconds: float) -> Awaitable[load.Sample]:
        """Measure the throughput of a grain here that calls grains on another silo."""
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
    or asyncio. `choices` are options of the command line with their values, the default first; `chosen` has the
    values of this process.
    """

    packages: Sequence[str] = ()
    loop = "uvloop"
    choices: Mapping[str, Sequence[str]] = {}
    chosen: Mapping[str, str] = {}

    def serve(self, storage: str | None, membership: str | None) -> AbstractAsyncContextManager[str]:
        """Host grains while entered; the value is the address for `drive`."""
        raise NotImplementedError

    def join(self, membership: str) -> AbstractAsyncContextManager[Target]:
        """Host grains in the cluster of another process while entered."""
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
    parser.add_argument("role", choices=["serve", "drive", "join", "alone"])
    parser.add_argument("--address", default="")
    parser.add_argument("--storage")
    parser.add_argument("--membership")
    for name, values in contestant.choices.items():
        parser.add_argument(f"--{name}", choices=values, default=values[0])
    options = parser.parse_args()
    contestant.chosen = {name: getattr(options, name) for name in contestant.choices}
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
    watch = Watch()
    async with _role(contestant, options) as entered:
        target, address = (entered, None) if isinstance(entered, Target) else (Target(), entered)
        _send(answers, _introduction(contestant) | {"ready": address})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _send(answers, await _carry_out(target, watch, json.loads(line)))


def _role(contestant: Contestant, options: argparse.Namespace) -> AbstractAsyncContextManager[Target | str]:
    match options.role:
        case "serve":
            return contestant.serve(options.storage, options.membership)
        case "drive":
            return contestant.drive(options.address)
        case "join":
            return contestant.join(options.membership)
        case _:
            return contestant.alone(options.storage)


async def _carry_out(target: Target, watch: Watch, order: dict[str, Any]) -> dict[str, Any]:
    try:
        match order["measure"]:
            case "watch":
                watch.start(order["how"])
                return {}
            case "watched":
                return {"seen": watch.stop()}
            case _:
                return await _figure(target, order)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def _figure(target: Target, order: dict[str, Any]) -> Awaitable[load.Sample]:
    callers = range(order["callers"])
    match order["measure"]:
        case "throughput" if order["size"]:
            calls = [target.blob(caller) for caller in callers]
            return load.throughput(calls, order["seconds"], b"x" * order["size"])
        case "throughput":
            return load.throughput([target.echo(caller) for caller in callers], order["seconds"])
        case "silos":
            return target.from_grain(order["callers"], order["seconds"])
        case "local":
            return load.local(target.echo(0), order["seconds"])
        case "activation":
            return load.activation(target.fresh("activation"), order["count"])
        case "memory":
            return load.memory(target.fresh("memory"), order["count"])
        case "state":
            return load.throughput([target.write(caller) for caller in callers], order["seconds"])
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
