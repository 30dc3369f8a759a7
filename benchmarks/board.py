"""What the dashboard costs, and how long its lists take: `python -m benchmarks.board`.

`calls`: the latency of calls to a silo that serves the dashboard, with 0, 1 and 20 viewers of its overview, in
alternating phases of one run. `lists`: one page of the list of activations over six silos, each with many of them. Each
silo is a process of its own on the loopback interface; viewers have a process, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from grange import Grain
from grange.client import Client
from grange.dashboard.app import Dashboard
from grange.dashboard.cluster import ClientCluster
from grange.proto.acts import Level
from grange.silo import Silo
from grange.silo.dashboard_options import DashboardOptions

TOKEN = "token-of-the-benchmark"
VIEWERS = (0, 1, 20)
TARGETS = {1: 1.02, 20: 1.05}
LIST_TARGET_MS = 300.0
QUERIES = ("sort=key", "sort=age", "sort=idle", "contains=99", "prefix=1-5&sort=key")


class Empty(Grain, placement="prefer_local"):
    """An empty grain that stays on the silo that calls it first."""

    async def ping(self) -> int:
        """Return at once."""
        return 0


async def run_silo(number: int, folder: str, activations: int, http: str) -> None:
    """One silo: fill it, say where it is, live until standard input ends."""
    membership = f"sqlite:///{folder}/cluster.db"
    options: dict[str, Any] = {"port": 0, "gateway_port": 0, "http": http, "membership": membership}
    named = {"name": f"silo-{number}", "admin_token": TOKEN, "data": Path(folder) / str(number)}
    async with Silo([Empty], **named, **options) as silo:
        print(json.dumps({"gateway": silo.gateway, "http": silo.http}), flush=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, sys.stdin.readline)  # all silos are active
        for start in range(0, activations, 1000):
            keys = range(start, min(start + 1000, activations))
            await asyncio.gather(*(silo.get_grain(Empty, f"{number}-{key}").ping() for key in keys))
        gc.collect()
        gc.freeze()
        print("filled", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


async def run_viewers(http: str, count: int) -> None:
    """Read the overview as so many browsers do, until the process is killed."""
    host, _, port = http.rpartition(":")
    body = json.dumps({"token": TOKEN})
    head = f"Host: {http}\r\nContent-Type: application/json\r\nSec-Fetch-Site: same-origin\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST /api/login HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    cookie = next(line.partition(": ")[2] for line in answer.split("\r\n") if line.lower().startswith("set-cookie"))

    async def view() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        ask = f"GET /api/live?view=overview HTTP/1.1\r\nHost: {http}\r\nCookie: {cookie.partition(';')[0]}\r\n\r\n"
        writer.write(ask.encode())
        first = await reader.readuntil(b"\r\n")
        assert b"200" in first, first
        while await reader.read(65536):
            pass

    print("viewing", flush=True)
    await asyncio.gather(*(view() for _ in range(count)))


@contextlib.asynccontextmanager
async def child(*arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of this module."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.board", *map(str, arguments),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def silos(count: int, activations: int, http: str = "off") -> AsyncIterator[list[dict[str, str]]]:
    """Some silos of one cluster, filled."""
    async with contextlib.AsyncExitStack() as parts:
        folder = parts.enter_context(tempfile.TemporaryDirectory(prefix="grange-board-"))
        running = []
        for number in range(count):
            process = await parts.enter_async_context(child("silo", number, folder, activations, http))
            assert process.stdout
            running.append((process, json.loads(await process.stdout.readline())))
        for process, _ in running:
            assert process.stdin
            process.stdin.write(b"go\n")
        for process, _ in running:
            assert process.stdout
            assert await process.stdout.readline() == b"filled\n"
        yield [facts for _, facts in running]


async def measure_calls(rounds: int, seconds: float, callers: int) -> dict[str, Any]:
    """The p50 and p99 of calls in ms, by the number of viewers: medians over the rounds."""
    found: dict[int, list[tuple[float, float]]] = {viewers: [] for viewers in VIEWERS}
    async with silos(1, 100, "0") as (facts,), Client([facts["gateway"]]) as client:
        for number in range(rounds * len(VIEWERS)):
            viewers = VIEWERS[number % len(VIEWERS)]
            async with child("viewers", facts["http"], viewers) as process:
                assert process.stdout
                await process.stdout.readline()
                await asyncio.sleep(1.5)
                found[viewers].append(await latencies(client, seconds, callers))
    medians = {
        viewers: [statistics.median(part) for part in zip(*each, strict=True)] for viewers, each in found.items()
    }
    ratios = {viewers: medians[viewers][1] / medians[0][1] for viewers in VIEWERS[1:]}
    return {"p50_p99_ms": medians, "p99_ratio": ratios, "targets": TARGETS}


async def latencies(client: Client, seconds: float, callers: int) -> tuple[float, float]:
    """The p50 and p99 in ms of calls by some callers."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def call(key: int) -> None:
        grain = client.get_grain(Empty, f"0-{key}")
        while (began := time.perf_counter()) < end:
            await grain.ping()
            times.append(time.perf_counter() - began)

    await asyncio.gather(*(call(key) for key in range(callers)))
    times.sort()
    return times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000


async def measure_lists(count: int, activations: int, pages: int) -> dict[str, Any]:
    """The p50 and p95 in ms of a page of the list over all silos, asked as the dashboard does."""
    times: list[float] = []
    looked_at = cut = silent = 0
    async with silos(count, activations) as facts, Client([each["gateway"] for each in facts], token=TOKEN) as client:
        dashboard = Dashboard(ClientCluster(client, "default"), DashboardOptions(), (), lambda _: Level.NONE, "0")
        for number in range(pages):
            query = dict(pair.split("=") for pair in f"limit=100&{QUERIES[number % len(QUERIES)]}".split("&"))
            page = await dashboard.lists.search(query)
            times.append(page["seconds"] * 1000)
            looked_at, cut = max(looked_at, page["looked_at"]), cut + len(page["cut"])
            silent += len(page["silent"])
    times.sort()
    p50, p95 = times[len(times) // 2], times[int(len(times) * 0.95)]
    return {
        "looked_at": looked_at,
        "cut": cut,
        "silent": silent,
        "p50_ms": p50,
        "p95_ms": p95,
        "target_ms": LIST_TARGET_MS,
    }


def main() -> None:
    """Measure and print JSON; or be one of the processes."""
    if sys.argv[1:2] == ["silo"]:
        number, folder, activations, http = sys.argv[2:]
        asyncio.run(run_silo(int(number), folder, int(activations), http))
        return
    if sys.argv[1:2] == ["viewers"]:
        asyncio.run(run_viewers(sys.argv[2], int(sys.argv[3])))
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.board")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--callers", type=int, default=10)
    parser.add_argument("--silos", type=int, default=6)
    parser.add_argument("--activations", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--only", choices=("calls", "lists"))
    options = parser.parse_args()
    found: dict[str, Any] = {}
    if options.only != "lists":
        found["calls"] = asyncio.run(measure_calls(options.rounds, options.seconds, options.callers))
    if options.only != "calls":
        found["lists"] = asyncio.run(measure_lists(options.silos, options.activations, options.pages))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
