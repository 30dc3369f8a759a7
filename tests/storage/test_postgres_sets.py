"""Batches of sets in Postgres when another session is in the way, what they read, and the ends of prefixes."""

from __future__ import annotations

import asyncio
from typing import cast

import asyncpg
import pytest

from grange.proto.ids import GrainId, SiloAddress
from grange.storage.sets import ChangeSet, Check, Stamp, Write
from grange.storage.stores.postgres import PostgresStorage
from grange.storage.stores.postgres_queries import end_of
from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN

SILO = SiloAddress("10.0.0.1", 11111, 1)
REMIND = """
SELECT place, new_etag FROM grange_remind(
    'svc', '{}', '{}', '{alarm}', ARRAY[$1::text], '{r}', ARRAY[$2::text], '{1}', '{1}', '{1}', ARRAY[$3::text]
)
"""
FILL = """
INSERT INTO grange_reminder (service, grain_type, grain_key, name, slot, due, entry, etag)
SELECT 'svc', 'alarm', number, 'r', 1, number, '{}', 'first' FROM generate_series(1, 1000) AS number
"""
ROWS_READ = """
SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'grange_reminder'
"""
MANY = [GrainId("many", str(number)) for number in range(20)]


async def test_a_check_of_a_record_that_is_being_changed_harms_no_other_set(postgres_url: str) -> None:
    """The other sets of its batch are stored meanwhile. The set itself is stored when the record was not changed."""
    blocker = await asyncpg.connect(postgres_url)
    async with asyncio.timeout(20), open_storage(postgres_url, "svc") as opened:
        storage = cast("PostgresStorage", opened)
        etag = await storage.write(ANN, "state", b"1", None)
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("SELECT FROM grange_state FOR UPDATE")
        item = Write(GrainId("cart", "bob"), "state", b"1", None)
        checking = asyncio.create_task(storage.commit(ChangeSet(Stamp(SILO, 1), (item,), (Check(ANN, "state", etag),))))
        others = [storage.write(grain, "state", b"1", None) for grain in MANY]
        assert await asyncio.gather(*others) == ["1"] * len(MANY)
        assert not checking.done()
        await transaction.rollback()
        assert (await checking).etags == ("1",)
    await blocker.close()


async def test_a_session_that_met_an_empty_table_changes_a_reminder_by_its_key(postgres_url: str) -> None:
    """It kept a plan that reads all reminders for each change, until the next ANALYZE."""
    async with open_storage(postgres_url, "svc"):
        pass
    session = await asyncpg.connect(postgres_url)
    for number in range(10):
        assert await session.fetch(REMIND, str(number), None, "first") == [(1, None)]
    await session.execute("DELETE FROM grange_reminder")
    await session.execute(FILL)
    async with session.transaction():
        assert await session.fetch(REMIND, "500", "first", "second") == [(1, None)]
        assert await session.fetch(REMIND, "600", "another", "second") == []
        assert await session.fetchval(ROWS_READ) < 100  # of 1,000; the counter may hold some of before
    await session.close()


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("", None), ("a", "b"), ("a\U0010ffff", "b"), ("\U0010ffff", None), ("\ud7ff", "\ue000"), ("ü", "ý")],
)
def test_the_end_of_a_prefix_is_the_next_text_by_code_points(prefix: str, end: str | None) -> None:
    assert end_of(prefix) == end
