"""The loops that time every contestant, so that all contestants are timed in the same way.

Called by `worker.py`. A sample's `calls` count the warm-up too, because the harness divides the processor time of
all processes by them. Durations are seconds of the running loop unless a name says otherwise.
"""

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

Call = Callable[[int], Awaitable[object]]
Sample = dict[str, float]

_WARM_UP_SHARE = 0.2
_LOCAL_BATCH = 500
# An event loop that never runs frees no ended timer, and the garbage would count as memory of activations.
_BREATH = 50


async def throughput(calls: Sequence[Call], seconds: float) -> Sample:
    """Return calls per second with one endless caller per entry of `calls`, after a warm-up."""
    clock = asyncio.get_running_loop().time
    warm = clock() + seconds * _WARM_UP_SHARE
    end = warm + seconds

    async def caller(call: Call) -> tuple[int, int]:
        counted = number = 0
        while (now := clock()) < end:
            await call(number)
            number += 1
            counted += now >= warm
        return counted, number

    counts = await asyncio.gather(*(caller(call) for call in calls))
    counted, made = (sum(column) for column in zip(*counts, strict=True))
    return {"value": counted / (clock() - warm), "calls": made}


async def latency(call: Call, seconds: float) -> Sample:
    """Return the 50th and 99th percentile, in milliseconds, of one caller that waits for each answer."""
    clock = asyncio.get_running_loop().time
    warm = clock() + seconds * _WARM_UP_SHARE
    made = 0
    while clock() < warm:
        await call(0)
        made += 1
    taken: list[int] = []
    end = clock() + seconds
    while clock() < end:
        started = time.perf_counter_ns()
        await call(1)
        taken.append(time.perf_counter_ns() - started)
    taken.sort()
    return {"value": percentile(taken, 0.50) / 1e6, "p99": percentile(taken, 0.99) / 1e6, "calls": made + len(taken)}


async def local(call: Call, seconds: float) -> Sample:
    """Return microseconds per call of one caller in the grain's process: the median batch of 500 calls."""
    clock = asyncio.get_running_loop().time
    warm = clock() + seconds * _WARM_UP_SHARE
    end = warm + seconds
    batches: list[float] = []
    made = 0
    while (now := clock()) < end:
        started = time.perf_counter_ns()
        for number in range(_LOCAL_BATCH):
            await call(number)
        made += _LOCAL_BATCH
        if now >= warm:
            batches.append((time.perf_counter_ns() - started) / _LOCAL_BATCH)
    batches.sort()
    return {"value": percentile(batches, 0.50) / 1e3, "calls": made}


async def activation(first_call: Call, count: int) -> Sample:
    """Return microseconds per first call on `count` keys never used before, one after the other."""
    await first_call(-1)
    gc.collect()
    started = time.perf_counter_ns()
    for number in range(count):
        await first_call(number)
    return {"value": (time.perf_counter_ns() - started) / count / 1e3, "activations": count}


async def memory(first_call: Call, count: int) -> Sample:
    """Return resident bytes per idle activation: growth of this process over `count` new ones."""
    for number in range(-500, 0):
        await first_call(number)
    before = _settled_resident_bytes()
    for number in range(count):
        await first_call(number)
        if number % _BREATH == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0.05)  # lets the loop free finished tasks before the second reading
    return {"value": (_settled_resident_bytes() - before) / count, "activations": count}


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of ascending values. Raises ValueError when there are none."""
    if not ordered:
        raise ValueError("a percentile of no values: give the measurement more seconds")
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def _settled_resident_bytes() -> int:
    gc.collect()
    statm = Path("/proc/self/statm")
    if not statm.exists():
        raise RuntimeError("resident memory is read from /proc, which this system does not have")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
