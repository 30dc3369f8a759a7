"""Reads the membership table each 50 ms: when a death was declared, and whether views only go forward.

It reads the table in Redis and not through a silo, so that its times are those of the writes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis.exceptions
from redis.asyncio import Redis

POLL_INTERVAL = 0.05
POLL_TIMEOUT = 1.0
_ROW = "silo:"


@dataclass(frozen=True)
class Sighting:
    """The table at one time: `statuses` by silo address."""

    t: float
    incarnation: str
    version: int
    statuses: Mapping[str, str]

    def active(self) -> set[str]:
        return {address for address, status in self.statuses.items() if status == "active"}


class TableObserver:
    """Records every change of the table while `run` runs, in a task of its owner."""

    def __init__(self, client: Redis, cluster: str) -> None:
        self._client = client
        self._key = f"grange:{{{cluster}}}:membership"
        self.sightings: list[Sighting] = []
        self.gaps: list[float] = []
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(POLL_TIMEOUT):
                    await self._poll()
            except (redis.exceptions.RedisError, OSError):  # a TimeoutError is an OSError
                self.gaps.append(time.monotonic())  # Redis is away, as in some rows
            await asyncio.sleep(POLL_INTERVAL)

    async def until(self, fits: Callable[[Sighting], bool], within: float) -> Sighting:
        """Wait for the next sighting that fits. Raises TimeoutError."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: bool(self.sightings) and fits(self.sightings[-1]))
            return self.sightings[-1]

    def first(self, since: float, fits: Callable[[Sighting], bool]) -> Sighting | None:
        """The first sighting after a time that fits."""
        return next((each for each in self.sightings if each.t >= since and fits(each)), None)

    async def _poll(self) -> None:
        fields = await self._client.hgetall(self._key)
        statuses = {
            name.removeprefix(_ROW): json.loads(row)["status"]
            for name, row in sorted(fields.items())
            if name.startswith(_ROW)
        }
        seen = Sighting(time.monotonic(), fields.get("incarnation", ""), int(fields.get("version", 0)), statuses)
        last = self.sightings[-1] if self.sightings else None
        if last is None or (last.incarnation, last.version) != (seen.incarnation, seen.version):
            async with self._changed:
                self.sightings.append(seen)
                self._changed.notify_all()
