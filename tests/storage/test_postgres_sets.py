"""Batches of sets in Postgres when another session is in the way, and the ends of prefixes."""

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


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("", None), ("a", "b"), ("a\U0010ffff", "b"), ("\U0010ffff", None), ("\ud7ff", "\ue000"), ("ü", "ý")],
)
def test_the_end_of_a_prefix_is_the_next_text_by_code_points(prefix: str, end: str | None) -> None:
    assert end_of(prefix) == end
