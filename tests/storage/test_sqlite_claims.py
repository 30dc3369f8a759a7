"""A claim in SQLite waits for no disk, and every write after it does."""

from __future__ import annotations

from pathlib import Path

from grange.databases.sqlite import open_sqlite
from grange.storage.options import StorageOptions
from grange.storage.stores.sqlite import SqliteStorage
from grange.testing.contracts.storage_samples import ANN

FULL = 2
"""The number of `PRAGMA synchronous = FULL`."""


async def test_a_write_after_a_claim_still_waits_for_the_disk(tmp_path: Path) -> None:
    """Also after a claim that found no record. Nothing else would show that acknowledged writes may be lost."""
    path = tmp_path / "state.db"
    async with SqliteStorage.open(f"sqlite:///{path}", "svc"):
        pass  # it makes the tables
    async with open_sqlite(path, 5.0, 1.0, synchronous="FULL") as connection:
        storage = SqliteStorage(connection, "svc", StorageOptions())
        for record in ("absent", "state"):
            await storage.claim(ANN, record, 7)
            ((synchronous,),) = await connection.execute_fetchall("PRAGMA synchronous")
            assert synchronous == FULL
            await storage.write(ANN, "state", b"1", (await storage.read(ANN, "state")).etag)
