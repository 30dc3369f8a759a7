"""How the cost of a call changes with the number of silos and of activations: `python -m benchmarks.scale`.

`servers` simulates clusters of 2 to 125 silos in one process and virtual time, and counts what their network carries:
messages and bytes of a call, probes and gossip of each silo, and the time until all silos agree after a join and a
death. `actors` calls grains of one silo that holds a thousand or a million activations, in turn, by processor time.
It writes `docs/charts/*.svg` and `benchmarks/scale.json`.
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chart import Axis, Series, lines
from grange import Grain
from grange.cli.garbage import settle
from grange.proto.codec import encode_frame
from grange.proto.message import Message, Request, Response
from grange.runtime.system_target import SYSTEM_TYPE
from grange.silo import Silo
from grange.testing import TestCluster

ROOT = Path(__file__).resolve().parent.parent
SERVERS = (2, 8, 32, 125)
ACTORS = (1_000, 10_000, 100_000, 1_000_000)
LATENCY = 0.0005
"""Seconds that a message travels in the simulated network."""

QUIET = 20.0
"""Virtual seconds in which probes and gossip are counted."""

GRAINS = 1_000
HOT = 1_000
ROUNDS = 9
CALLS = 20_000
Figures = dict[str, Any]


class Echo(Grain[int]):
    """An empty grain."""

    async def echo(self, value: int) -> int:
        """Return the argument."""
        return value


class Traffic:
    """Counts the messages of a memory network and their bytes, by purpose. It is the `fate` of the network."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self._purposes: dict[tuple[str, str, int], str] = {}

    def __call__(self, source: str, target: str, message: Message) -> Sequence[float]:
        """Count one message, and deliver it."""
        if isinstance(message, Request):
            purpose = message.grain_id.key if message.grain_id.type == SYSTEM_TYPE else "call"
            self._purposes[source, target, message.id] = purpose
        elif isinstance(message, Response):
            purpose = self._purposes.pop((target, source, message.id), "other")
        else:
            purpose = type(message).__name__.lower()
        self.messages[purpose] += 1
        self.bytes[purpose] += len(encode_frame([message]))
        return (0.0,)

    def clear(self) -> None:
        """Start to count again."""
        self.messages.clear()
        self.bytes.clear()


def servers(sizes: Sequence[int] = SERVERS) -> dict[int, Figures]:
    """The figures of clusters of these sizes."""
    return {size: asyncio.run(_cluster(size)) for size in sizes}


async def _cluster(size: int) -> Figures:
    traffic = Traffic()
    async with TestCluster([Echo], silos=size) as cluster:
        cluster.network.latency = LATENCY
        await cluster.advance(30)
        grains = [cluster.get_grain(Echo, number) for number in range(GRAINS)]
        cluster.network.fate = traffic
        await asyncio.gather(*(grain.echo(1) for grain in grains))
        first = {"messages": traffic.messages["call"] / GRAINS, "directory": _sum(traffic.messages, "directory.")}
        traffic.clear()
        for _ in range(2):
            await asyncio.gather(*(grain.echo(1) for grain in grains))
        calls = {"messages": traffic.messages["call"] / GRAINS / 2, "bytes": traffic.bytes["call"] / GRAINS / 2}
        traffic.clear()
        await cluster.advance(QUIET)
        idle = {
            "messages": _rate(traffic.messages, size),
            "bytes": round(sum(traffic.bytes.values()) / size / QUIET),
        }
        return {"first_call": first, "call": calls, "idle": idle, **await _changes(cluster)}


async def _changes(cluster: TestCluster) -> Figures:
    """Virtual seconds from the start of a silo, and from the kill of one, until the first and last other silo know."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    joined = await cluster.add_silo()
    join = loop.time() - began
    await cluster.advance(30)
    seen: list[float] = []
    others = [silo for silo in cluster.silos if silo is not joined]
    began = loop.time()
    waits = [asyncio.create_task(_sees(silo, {other.address for other in others}, seen)) for silo in others]
    await cluster.kill(joined)
    await asyncio.gather(*waits)
    return {
        "join_s": round(join, 3),
        "death_first_s": round(min(seen) - began, 2),
        "spread_s": round(max(seen) - min(seen), 3),
    }


async def _sees(silo: Silo, active: set[Any], seen: list[float]) -> None:
    await silo.wait_for(active)
    seen.append(asyncio.get_running_loop().time())


def _rate(messages: Counter[str], size: int) -> dict[str, float]:
    return {purpose: round(count / size / QUIET, 2) for purpose, count in sorted(messages.items())}


def _sum(messages: Counter[str], prefix: str) -> int:
    return sum(count for purpose, count in messages.items() if purpose.startswith(prefix))


def actors(sizes: Sequence[int] = ACTORS, rounds: int = ROUNDS) -> Figures:
    """Calls per second of processor time, with so many activations in one silo as each of `sizes`.

    The smallest and the others alternate only by growth: a silo cannot hold a thousand and a million at once. So a
    second silo in the same process holds the smallest number, and every round calls both.
    """
    settle(gc.get_threshold())
    return asyncio.run(_actors(sizes, rounds))


async def _actors(sizes: Sequence[int], rounds: int) -> Figures:
    figures: Figures = {}
    async with _silo("small") as small, _silo("large") as large:
        base = await _fill(small, 0, sizes[0])
        held = 0
        for size in sizes:
            await _fill(large, held, size)
            held = size
            spread = [large.get_grain(Echo, number) for number in range(0, size, max(1, size // HOT))][:HOT]
            pairs = [(await _rate_of(base[:HOT]), await _rate_of(spread)) for _ in range(rounds)]
            figures[str(size)] = {
                "calls_per_s": round(statistics.median(pair[1] for pair in pairs)),
                "ratio": round(statistics.median(many / few for few, many in pairs), 3),
            }
    return figures


async def _fill(silo: Silo, begin: int, end: int) -> list[Echo]:
    for first in range(begin, end, 500):
        await asyncio.gather(*(silo.get_grain(Echo, n).echo(0) for n in range(first, min(first + 500, end))))
    return [silo.get_grain(Echo, number) for number in range(min(end, HOT))]


async def _rate_of(grains: Sequence[Echo]) -> float:
    began = time.process_time()
    for number in range(CALLS):
        await grains[number % len(grains)].echo(number)
    return CALLS / (time.process_time() - began)


def _silo(name: str) -> Silo:
    return Silo([Echo], name=name, cluster=name, membership="memory://", storage="memory://", port=0, gateway_port=0)


def draw(results: Figures, folder: Path) -> None:
    """Write the charts."""
    folder.mkdir(parents=True, exist_ok=True)
    by_size: dict[str, Figures] = results.get("servers", {})
    if by_size:
        series = [
            Series("a call", _points(by_size, lambda entry: entry["call"]["messages"])),
            Series("a silo and second, idle", _points(by_size, lambda entry: sum(entry["idle"]["messages"].values()))),
        ]
        title = "Messages as the cluster grows (simulated)"
        (folder / "servers.svg").write_text(lines(title, Axis("silos", logarithmic=True), Axis("messages"), series))
    by_count: dict[str, Figures] = results.get("actors", {})
    if by_count:
        ratio = Series("throughput", _points(by_count, lambda entry: entry["ratio"]))
        axes = Axis("activations", logarithmic=True), Axis("of the throughput with 1,000")
        (folder / "actors.svg").write_text(lines("Throughput as a silo fills", *axes, [ratio]))


def _points(entries: dict[str, Figures], value: Callable[[Figures], float]) -> tuple[tuple[float, float], ...]:
    return tuple((float(size), value(entry)) for size, entry in entries.items())


def main() -> int:
    """Measure, write the JSON and the charts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--only", choices=["servers", "actors"])
    parser.add_argument("--most", type=int, default=10**9, help="largest number of silos or activations")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "scale.json")
    options = parser.parse_args()
    results: Figures = json.loads(options.json.read_text()) if options.json.exists() else {}
    if options.only != "actors":
        for size in (size for size in SERVERS if size <= options.most):
            results.setdefault("servers", {}).update({str(size): entry for size, entry in servers([size]).items()})
            options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.only != "servers":
        results["actors"] = actors([count for count in ACTORS if count <= options.most])
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    draw(results, ROOT / "docs" / "charts")
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
