"""The reads of the view that a client keeps waiting at its gateways, so that it learns of a change when the silos do.

A silo answers such a read when its view is newer than that of the client (`silo/view_reads.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from grange.aio.signal import Signal
from grange.proto.ids import SiloAddress
from grange.proto.management import MOST_WAIT

READERS = 2
"""Reads that wait at one time, each at another gateway: the silo of one of them may hang, and break no connection."""

SHORT_WAIT = 0.5
"""Longest wait in seconds that a client asks of a silo that did not wait before. The next read comes after the period:
so this is part of the time in which the client learns that the silo hangs.
"""

SHORTEST = 0.8
"""Part of the wait that a read asks for at least, by chance: reads that began at one moment end at different ones."""

WAITED = 0.9
"""Part of the wait after which a silo has waited, by the clock of this process."""

NEWS_PAUSE = 0.02
"""Longest pause in seconds before the next read, when one has brought a newer view; its length is by chance."""

CONNECT_PAUSE = 0.5
"""Longest pause in seconds between a new connection and the first read there, by chance: the calls that opened it go
first, and many clients may connect at one moment.
"""

FAILURE_PAUSE = 0.05
"""Seconds before the next read, at another gateway, when one has failed."""

Read = Callable[[SiloAddress, float], Awaitable[Exception | None]]
"""Reads the view at a gateway, which may wait so many seconds. Returns the error if that failed."""


class WaitingReads:
    """Where the reads of one client wait. `free` returns the gateways that may be read.

    A read waits at a gateway with a connection. Another gateway is connected if there is none for `period` seconds, and
    at once if a read has failed.
    """

    def __init__(self, period: float, rng: Random, free: Callable[[], Sequence[SiloAddress]]) -> None:
        self._period = period
        self._rng = rng
        self._free = free
        self._loop = asyncio.get_running_loop()
        self._connected: set[SiloAddress] = set()
        self._taken: set[SiloAddress] = set()
        self._hasty: set[SiloAddress] = set()  # they did not wait: silos of an earlier release, or with too many reads
        self._connecting = Signal()

    def connecting(self, gateway: SiloAddress) -> None:
        """The client has a connection to this gateway, or opens one."""
        if gateway not in self._connected:
            self._connected.add(gateway)
            self._connecting.fire()

    async def run(self, read: Read, version: Callable[[], int]) -> None:
        """Keep one read waiting, until it is cancelled. `version` returns that of the view of the client."""
        patience = self._period
        while True:
            gateway = self._choose(connected=True)
            if gateway is None:
                if await self._connecting.wait(patience):
                    await asyncio.sleep(self._rng.uniform(0.0, CONNECT_PAUSE))
                    continue
                gateway = self._choose(connected=False)
            patience = self._period
            if gateway is not None:
                pause = await self._read(gateway, read, version)
                if pause is None:  # it failed: move to another gateway now
                    patience, pause = 0.0, FAILURE_PAUSE
                await asyncio.sleep(pause)

    async def _read(self, gateway: SiloAddress, read: Read, version: Callable[[], int]) -> float | None:
        """Read the view there once. Returns the seconds until the next read; None if it failed."""
        before, began = version(), self._loop.time()
        most = SHORT_WAIT if gateway in self._hasty else MOST_WAIT
        seconds = min(self._period, most) * self._rng.uniform(SHORTEST, 1.0)
        self._taken.add(gateway)
        try:
            failure = await read(gateway, seconds)
        finally:
            self._taken.discard(gateway)
        if failure is not None:
            return None
        if version() != before:
            return self._rng.uniform(0.0, NEWS_PAUSE)
        took = self._loop.time() - began
        if took >= WAITED * seconds:
            self._hasty.discard(gateway)
            return 0.0
        self._hasty.add(gateway)
        return self._period - took

    def _choose(self, *, connected: bool) -> SiloAddress | None:
        """A gateway at which no read waits, by chance."""
        free = self._free()
        self._connected.intersection_update(free)  # others answer first, or never again
        self._hasty.intersection_update(free)
        gateways = [each for each in free if each not in self._taken]
        if connected:
            gateways = [each for each in gateways if each in self._connected]
        return self._rng.choice(gateways) if gateways else None
