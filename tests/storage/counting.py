"""A process of its own, `python counting.py <url> <times>`: adds 1 to one shared counter that many times."""

from __future__ import annotations

import asyncio
import sys

from grange.errors import InconsistentStateError
from grange.storage.provider import GrainStorage
from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN


async def count(url: str, times: int) -> None:
    async with open_storage(url, "svc") as storage:
        for _ in range(times):
            while not await added(storage):
                pass


async def added(storage: GrainStorage) -> bool:
    record = await storage.read(ANN, "count")
    number = int(record.payload or b"0") + 1
    try:
        await storage.write(ANN, "count", str(number).encode(), record.etag)
    except InconsistentStateError:
        return False
    return True


if __name__ == "__main__":
    asyncio.run(count(sys.argv[1], int(sys.argv[2])))
