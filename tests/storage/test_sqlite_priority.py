"""A change that waits long for a SQLite file is made before the changes of other processes.

A second `Priority` of the same file stands for another process: the lock belongs to an open file, not to a process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiosqlite
import pytest

from grange.storage.options import StorageOptions
from grange.storage.stores.sqlite import SqliteStorage
from grange.storage.stores.sqlite_priority import ASKS_AFTER, STANDS_BACK, Priority
from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.db-wal"
    path.touch()
    return path


@pytest.fixture
def ours(file: Path) -> Iterator[Priority]:
    priority = Priority(str(file))
    yield priority
    priority.close()


@pytest.fixture
def theirs(file: Path) -> Iterator[Priority]:
    priority = Priority(str(file))
    yield priority
    priority.close()


def test_changes_that_have_not_waited_do_not_stand_back(ours: Priority, theirs: Priority) -> None:
    with ours.asked() as one, theirs.asked() as other:
        assert one(0)
        assert other(0)
        assert one(ASKS_AFTER), "the other has kept no lock"


def test_others_stand_back_until_the_change_ends(ours: Priority, theirs: Priority) -> None:
    with theirs.asked() as other:
        with ours.asked() as one:
            assert one(ASKS_AFTER)
            assert not other(0)
            assert not other(ASKS_AFTER), "one has priority at a time"
        assert other(0)
        assert other(ASKS_AFTER)
        with ours.asked() as one:
            assert not one(0)


def test_other_changes_of_the_process_that_has_priority_go_on(ours: Priority, theirs: Priority) -> None:
    with ours.asked() as first, theirs.asked() as other:
        assert first(ASKS_AFTER)
        with ours.asked() as second:
            assert second(0)
            assert second(ASKS_AFTER)
        assert not other(0), "the end of the second is not the end of the first"


def test_a_change_that_fails_gives_its_priority_back(ours: Priority, theirs: Priority) -> None:
    def fail() -> None:
        with ours.asked() as one:
            assert one(ASKS_AFTER)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with theirs.asked() as other:
        assert other(0)


def test_a_stopped_process_does_not_stop_others(ours: Priority, theirs: Priority) -> None:
    with ours.asked() as one, theirs.asked() as other:
        assert one(ASKS_AFTER)
        assert other(STANDS_BACK)
        assert not other(0), "the next change stands back again"


async def test_a_write_stands_back_for_the_change_of_another_process(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_storage(f"sqlite:///{path}", "svc") as storage:
        ours, theirs = Priority(f"{path}-wal", stands_back=1000), Priority(f"{path}-wal")
        async with aiosqlite.connect(path, isolation_level=None) as connection:
            patient = SqliteStorage(connection, "svc", priority=ours)
            with theirs.asked() as other:
                assert other(ASKS_AFTER)
                write = asyncio.create_task(patient.write(ANN, "count", b"1", None))
                for _ in range(100):
                    assert (await storage.read(ANN, "count")).etag is None
            assert await write == "1"
        ours.close()
        theirs.close()


async def test_a_write_that_waits_long_has_priority_and_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_storage(f"sqlite:///{path}", "svc", StorageOptions(operation_timeout=60)) as storage:
        theirs = Priority(f"{path}-wal")
        async with aiosqlite.connect(path, isolation_level=None) as other:
            await other.execute("BEGIN IMMEDIATE")
            write = asyncio.create_task(storage.write(ANN, "count", b"1", None))
            with theirs.asked() as permits:
                while permits(0):
                    await asyncio.sleep(0)
                    assert not write.done(), "it never asked for priority"
                await other.execute("COMMIT")
                assert await write == "1"
                assert permits(0)
        theirs.close()
