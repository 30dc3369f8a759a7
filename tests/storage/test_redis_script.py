"""Scripts of Redis are loaded again where they are missing; its keys are ordered, and end with their rows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from grange.errors import StorageUnavailable
from grange.storage.options import StorageOptions
from grange.storage.provider import RecordName
from grange.storage.sets import SLOTS, ChangeSet, IndexEntry, Received, Stamp
from grange.storage.stores.changes import QueuedSet
from grange.storage.stores.redis import RedisStorage
from grange.storage.stores.redis_keys import RedisKeys, code_of
from grange.testing.contracts.set_samples import ANN, BOB, CAT, SILO, STATE, put, reminder, remove, write
from grange.testing.loop import VirtualTime


class Mute:
    """A client whose server takes the script and does not answer."""

    def register_script(self, script: str) -> Any:
        return script

    async def script_load(self, script: str) -> None:
        await asyncio.Event().wait()


class Restarted(RedisStorage):
    async def _run(self, batch: Sequence[QueuedSet]) -> list[Any]:
        return [NoScriptError() for _ in batch]


async def test_a_server_that_does_not_take_the_script_holds_no_lane_for_ever() -> None:
    """The change was not stored. Four lanes that hang would block all changes, and the stop of the silo too."""
    with VirtualTime(asyncio.get_running_loop()).installed():
        storage = Restarted(cast("Any", Mute()), "svc", StorageOptions(operation_timeout=2.0))
        with pytest.raises(StorageUnavailable):
            await storage.write(ANN, "state", b"1", None)
        async with asyncio.timeout(10):
            await storage.flush()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """A client as an application may have it: it decodes what it reads."""
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


async def test_a_server_without_the_scripts_gets_them(client: Redis) -> None:
    """After a restart or SCRIPT FLUSH: plain writes, sets, claims and reads of reminders go on."""
    storage = RedisStorage(client, "svc")
    row = reminder(ANN, "call", "one", due=1)
    for number in range(2):
        held = await storage.read(ANN, STATE)
        await client.script_flush()
        await storage.write(ANN, STATE, b'"\xc3\xa9"', held.etag)
        await client.script_flush()
        changes = ChangeSet(None, (write(BOB, b"1", str(number) if number else None), write(CAT, None, None)))
        await storage.commit(changes)
        await client.script_flush()
        assert (await storage.claim(ANN, STATE, 7)).payload == b'"\xc3\xa9"'
    await storage.commit(ChangeSet(None, received=(Received(ANN, "id", b"1", 60),), reminders=(put(row),)))
    await client.script_flush()
    assert await storage.reminders_due(range(SLOTS), 5, 10) == await storage.reminders_of(ANN) == [row]
    assert await storage.received(ANN, "id") == b"1"
    assert [name.key for name in await storage.list_records(ANN.type)] == ["ann", "bob"]


async def test_a_record_of_an_earlier_grange_is_listed_once_written(client: Redis) -> None:
    """It has no entry among the names, and gets one with the next write; a clear removes it."""
    storage = RedisStorage(client, "svc")
    record = {"etag": "4", "payload": "1", "schema": "1", "writer": "10.0.0.1:1@1", "number": "9"}
    await client.hset(RedisKeys("svc").record((ANN.type, ANN.key, STATE)), mapping=record)  # type: ignore[misc]
    assert await storage.list_records(ANN.type) == []
    etag = await storage.write(ANN, STATE, b"2", "4", stamp=Stamp(SILO, 1))
    assert await storage.list_records(ANN.type) == [RecordName(ANN.key, STATE)]
    await storage.clear(ANN, STATE, etag)
    assert await storage.list_records(ANN.type) == []
    assert await client.keys("grange:names:*") == []


async def test_what_is_gone_leaves_no_keys(client: Redis) -> None:
    """Only the hash of a cleared record stays: indexes, unique values, reminders and names end with their rows."""
    storage = RedisStorage(client, "svc")
    row = reminder(ANN, "call", "one")
    index = (IndexEntry("city", "Rome"), IndexEntry("mail", "x", unique=True))
    (etag,) = (await storage.commit(ChangeSet(None, (write(ANN, b"1", None, *index),), reminders=(put(row),)))).etags
    assert len(await client.keys("grange:*")) == 8
    await storage.commit(ChangeSet(None, (write(ANN, None, etag),), reminders=(remove(row),)))
    assert await client.keys("grange:*") == [RedisKeys("svc").record((ANN.type, ANN.key, STATE))]


def test_codes_are_ordered_as_values() -> None:
    values = (-math.inf, -1e300, -2, -1.5, -5e-324, 0, 5e-324, 1, 1.5, 2**53, 1e300, "", "\x01", "a", "aa")
    codes = [code_of(value).encode() + b"\0" for value in values]
    assert codes == sorted(set(codes))


def test_equal_numbers_have_one_code() -> None:
    assert code_of(0) == code_of(0.0) == code_of(-0.0)
    assert code_of(7) == code_of(7.0) != code_of("7")
