"""The same call with JSON, MessagePack and protobuf payloads, and from Node: `python -m benchmarks.encodings`.

One silo in a process of its own; a Python client sends the same small order in each encoding, in turn. A client in Node
sends it as JSON over the open contract; without npm it is skipped. Compare the processor time of a call first: it
hardly changes when other programs use the machine.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from grange import Grain
from grange.client import Client
from grange.proto.ids import GrainId
from grange.silo import Silo

ROOT = Path(__file__).resolve().parent.parent
NODE = ROOT / "benchmarks" / "node"
CALLERS = 100
Figures = dict[str, Any]

_CLUSTER = "benchmarks"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Order:
    """The argument of every call."""

    sku: str = "apple"
    quantity: int = 3
    price: float = 1.5
    tags: list[str] = field(default_factory=lambda: ["red", "ripe"])


class Desk(Grain[int]):
    """Takes orders."""

    async def typed(self, order: Order) -> Order:
        """Take and return a value that the runtime encodes."""
        return order

    async def opaque(self, order: bytes) -> bytes:
        """Take and return a value that the application encodes: protobuf."""
        return to_protobuf(from_protobuf(order))


def _message() -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="benchmarks_order.proto", package="benchmarks", syntax="proto3")
    message = file.message_type.add(name="Order")
    for number, (name, kind, label) in enumerate(
        (
            ("sku", kinds.TYPE_STRING, kinds.LABEL_OPTIONAL),
            ("quantity", kinds.TYPE_INT32, kinds.LABEL_OPTIONAL),
            ("price", kinds.TYPE_DOUBLE, kinds.LABEL_OPTIONAL),
            ("tags", kinds.TYPE_STRING, kinds.LABEL_REPEATED),
        ),
        start=1,
    ):
        message.field.add(name=name, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("benchmarks.Order"))  # type: ignore[no-untyped-call]


_ORDER = _message()


def to_protobuf(order: Order) -> bytes:
    """Encode an order as protobuf."""
    encoded: bytes = _ORDER(
        sku=order.sku, quantity=order.quantity, price=order.price, tags=order.tags
    ).SerializeToString()
    return encoded


def from_protobuf(data: bytes) -> Order:
    """Decode an order."""
    order = _ORDER.FromString(data)
    return Order(order.sku, order.quantity, order.price, list(order.tags))


async def _python(address: str, pid: int, seconds: float, rounds: int) -> Figures:
    order = Order()
    async with Client([address], cluster=_CLUSTER) as client:
        grains = [client.get_grain(Desk, number) for number in range(CALLERS)]

        async def as_json(number: int) -> object:
            arguments = msgspec.json.encode([order])
            answer = await client.call_json(GrainId("desk", str(number)), "typed", arguments)
            return msgspec.json.decode(answer, type=Order)

        async def as_msgpack(number: int) -> object:
            return await grains[number].typed(order)

        async def as_protobuf(number: int) -> object:
            return from_protobuf(await grains[number].opaque(to_protobuf(order)))

        loads = {"JSON": as_json, "MessagePack": as_msgpack, "protobuf": as_protobuf}
        samples: dict[str, list[Figures]] = {name: [] for name in loads}
        for _ in range(rounds):
            for name, load in loads.items():
                samples[name].append(await _load(load, pid, seconds))
        return {name: _medians(each) for name, each in samples.items()}


async def _load(call: Callable[[int], Awaitable[object]], pid: int, seconds: float) -> Figures:
    began, client, silo = time.perf_counter(), time.process_time(), _processor_seconds(pid)
    made = 0

    async def caller(number: int) -> None:
        nonlocal made
        while time.perf_counter() - began < seconds:
            await call(number)
            made += 1

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return {
        "calls_per_s": made / (time.perf_counter() - began),
        "client_us": (time.process_time() - client) / made * 1e6,
        "silo_us": (_processor_seconds(pid) - silo) / made * 1e6,
    }


def _medians(samples: list[Figures]) -> Figures:
    return {name: round(statistics.median(sample[name] for sample in samples)) for name in samples[0]}


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def node(address: str, seconds: float) -> Figures:
    """The figures of the client in Node, or the reason why there are none."""
    npm, program = shutil.which("npm"), shutil.which("node")
    if npm is None or program is None:
        return {"skipped": "npm or node is not on the PATH"}
    if not (NODE / "node_modules").exists():
        done = subprocess.run([npm, "ci"], cwd=NODE, capture_output=True, text=True, timeout=300)
        if done.returncode:
            return {"skipped": f"npm ci failed: {done.stderr.strip().splitlines()[-1:]}"}
    command = [program, "client.mjs", str(ROOT / "grange" / "proto"), address, _CLUSTER, str(seconds), str(CALLERS)]
    done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=60 + 4 * seconds)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[:3]}
    figures: Figures = json.loads(done.stdout)
    return figures


async def _serve() -> None:
    async with Silo([Desk], cluster=_CLUSTER, membership="memory://", port=0, gateway_port=0) as silo:
        print(silo.gateway, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def _served() -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "benchmarks.encodings", "serve"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.kill()


def measure(seconds: float = 3.0, rounds: int = 3) -> Figures:
    """All figures, with 100 callers."""
    with _served() as (address, pid):
        return {**asyncio.run(_python(address, pid, seconds, rounds)), "Node, JSON": node(address, seconds)}


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encodings", description=__doc__)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    if options.words:
        asyncio.run(_serve())
    else:
        print(json.dumps(measure(options.seconds), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
