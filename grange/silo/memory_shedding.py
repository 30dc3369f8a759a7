"""Ends the activations that were idle for longest when the process uses too much memory.

Python gives freed memory back to the system late, or not at all. So after a round the next one comes only when the
process has grown beyond the memory that it had then: the memory that was freed serves new activations first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from grange.aio.portions import in_portions
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.observability.events import Events
from grange.observability.process import memory_limit, resident_bytes
from grange.observability.turn_events import ActivationsShed
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.collector import idle_for
from grange.runtime.options import RuntimeOptions

PERIOD = 5.0
"""Seconds between two readings of the memory."""

TARGET = 0.9
"""The share (0 to 1) of the limit to which a round aims, as if all memory were that of activations."""

MIB = 1024 * 1024


def limit_of(options: RuntimeOptions, real_time: bool) -> int:
    """Bytes of memory above which activations are ended; 0: never.

    Without `memory_mib` it is a share of what the process may use: its control group, else the machine. In virtual time
    only `memory_mib` counts, because the memory of a test process is no part of the test.
    """
    if options.memory_mib or not real_time:
        return options.memory_mib * MIB
    return memory_limit() * options.memory_percent // 100 if options.memory_percent < 100 else 0


class MemoryPressure:
    """Decides how many activations must end. Pure. `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._highest = limit

    def surplus(self, used: int, activations: int) -> int:
        """The number of activations to end while the process uses this many bytes."""
        if used <= self._limit:
            self._highest = self._limit
            return 0
        if used <= self._highest:
            return 0  # what the last round freed is not used again yet
        self._highest = used
        return activations - int(activations * TARGET * self._limit / used)


class MemoryShedding:
    """The shedding of one silo. `run` is its task. `limit` is in bytes; `read` returns the bytes that are used."""

    def __init__(self, catalog: Catalog, events: Events, limit: int, read: Callable[[], int] = resident_bytes) -> None:
        self._catalog = catalog
        self._events = events
        self._limit = limit
        self._read = read
        self._pressure = MemoryPressure(limit)

    async def run(self) -> None:
        """Look at the memory once per period, for the life of the silo."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.look()

    async def look(self) -> None:
        """End activations if the process uses too much memory now."""
        used, total = self._read(), sum(self._catalog.counts().values())
        surplus = self._pressure.surplus(used, total)
        if not surplus:
            return
        chosen = await self._idle_longest(surplus)
        reason = DeactivationReason(
            DeactivationCode.MEMORY, f"the process uses {used // MIB} MiB, over {self._limit // MIB} MiB"
        )
        self._events.publish(ActivationsShed(len(chosen), total, used // MIB, self._limit // MIB))

        def end(activation: Activation) -> None:
            if _may_end(activation, asyncio.get_running_loop().time()):  # it may have been called meanwhile
                activation.deactivate(reason)

        in_portions(chosen, end)

    async def _idle_longest(self, most: int) -> list[Activation]:
        """At most so many idle activations: those that were idle for longest, by whole seconds.

        Two passes over all of them need no sorting, which would hold the event loop for a million.
        """
        now = asyncio.get_running_loop().time()
        ages: Counter[int] = Counter()
        for batch in self._catalog.batches():
            ages.update(int(now - each.last_used) for each in batch if _may_end(each, now))
            await asyncio.sleep(0)
        least, count = 0, 0
        for least in sorted(ages, reverse=True):
            count += ages[least]
            if count >= most:
                break
        chosen: list[Activation] = []
        same_age: list[Activation] = []
        for batch in self._catalog.batches():
            for each in filter(lambda each: _may_end(each, now), batch):
                age = int(now - each.last_used)
                if age >= least:
                    (chosen if age > least else same_age).append(each)
            await asyncio.sleep(0)
        return [*chosen, *same_age][:most]


def _may_end(activation: Activation, now: float) -> bool:
    """Whether it is idle, and its author has not said that it must stay."""
    return not activation.hosted.options.keep_alive and idle_for(activation, 0.0, now)
