"""Several processes on one SQLite file, from its first moment on."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN

PROGRAM = Path(__file__).with_name("counting.py")
TIMES = 30


async def test_three_processes_lose_no_update(tmp_path: Path) -> None:
    """They start at once on a file that does not exist yet, and compete for one record."""
    url = f"sqlite:///{tmp_path}/state.db"
    command = (sys.executable, "-W", "error", str(PROGRAM), url, str(TIMES))
    processes = [await asyncio.create_subprocess_exec(*command) for _ in range(3)]
    async with asyncio.timeout(60):
        codes = await asyncio.gather(*(process.wait() for process in processes))
    assert codes == [0, 0, 0]
    async with open_storage(url, "svc") as storage:
        record = await storage.read(ANN, "count")
    assert (record.payload, record.etag) == (b"90", "90")


async def test_an_acknowledged_write_survives_a_kill(tmp_path: Path) -> None:
    """A process that is killed between two writes leaves a file that the next process can use."""
    url = f"sqlite:///{tmp_path}/state.db"
    command = (sys.executable, "-W", "error", str(PROGRAM), url, "1000000")
    process = await asyncio.create_subprocess_exec(*command)
    async with asyncio.timeout(60), open_storage(url, "svc") as storage:
        while int((seen := await storage.read(ANN, "count")).etag or 0) < 20:
            await asyncio.sleep(0)
        process.kill()
        await process.wait()
        record = await storage.read(ANN, "count")
        assert int(record.etag or 0) >= int(seen.etag or 0)
        assert record.payload == (record.etag or "").encode()
        await storage.write(ANN, "count", b"0", record.etag)
