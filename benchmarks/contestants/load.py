"""The loops that time every contestant, so that all contestants are timed in the same way.

Called by `worker.py`. A sample's `calls` count the warm-up too, because the harness divides the processor time of
all processes by them. Durations are seconds unless a name says otherwise. On a busy machine a loop may get no answer
within its time: then it waits for one.
"""

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

# Takes an integer, or bytes where an argument's size is measured, and returns them.
Call = Callable[[Any], Awaitable[object]]
Sample = dict[str, float]

_WARM_UP_SHARE = 0.2
_LOCAL_BATCH = 500
# An event loop that never runs frees no ended timer, and the garbage would count as memory of activations.
_BREATH = 50


async def throughput(
    calls: Sequence[Call], seconds: float, argument: bytes = b"", clock: Callable[[], int] = time.perf_counter_ns
) -> Sample:
    """Return calls per second with one endless caller per entry of `calls`, after a warm-up.

    Each call sends `argument`, or without one its number. The sample has the percentiles of the time a call takes,
    in milliseconds. A caller reads the clock, in nanoseconds, once a call: an answer's moment is the next call's start.
    """
    taken: list[int] = []
    counts = [0] * len(calls)
    warm = clock() + int(seconds * _WARM_UP_SHARE * 1e9)
    end = warm + int(seconds * 1e9)

    async def caller(index: int, call: Call) -> None:
        number, started = 0, clock()
        while started < end or not taken:
            await call(argument or number)
            number += 1
            answered = clock()
            if started >= warm:
                taken.append(answered - started)
            started = answered
        counts[index] = number

    await asyncio.gather(*(caller(index, call) for index, call in enumerate(calls)))
    return {"value": len(taken) / (clock() - warm) * 1e9, "calls": sum(counts), **_percentiles(taken)}


async def local(call: Call, seconds: float) -> Sample:
    """Return microseconds per call of one caller in the grain's process: the median batch of 500 calls."""
    clock = time.perf_counter
    warm = clock() + seconds * _WARM_UP_SHARE
    end = warm + seconds
    batches: list[float] = []
    made = 0
    while (now := clock()) < end or not batches:
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
    return {"value": (time.perf_counter_ns() - started) / count / 1e3, "calls": count + 1}


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


def _percentiles(nanoseconds: list[int]) -> Sample:
    nanoseconds.sort()
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return {name: percentile(nanoseconds, share) / 1e6 for name, share in shares.items()}


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
