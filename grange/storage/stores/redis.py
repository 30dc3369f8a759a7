"""State in Redis (or Valkey): one hash per record; every change set is one Lua script, so one atomic step.

Sets that wait for each other are sent together, in one pipeline (`changes.py`). `redis_keys.py` describes the keys,
`redis_scripts.py` has the scripts. A Redis Cluster cannot be used: it spreads the keys of one script.

Durability is that of Redis' persistence: with `appendonly yes` and `appendfsync everysec` a power failure may lose the
writes of the last second. Behind Sentinels a change is acknowledged once a replica has it (`RedisLink.send`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ReadOnlyError

from grange.databases.errors import at_start
from grange.databases.findings import StoreFinding
from grange.databases.redis import RedisLink, ask_all
from grange.databases.redis_clients import RedisOptions
from grange.errors import StorageError
from grange.proto.ids import SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.sets import Committed
from grange.storage.stores.changes import Name, QueuedSet, Sending
from grange.storage.stores.database import DEATHS_KEPT, storage_error, storage_errors
from grange.storage.stores.redis_queries import RedisQueries, record_of
from grange.storage.stores.redis_scripts import FIELDS, RECORD_DEATH, sha_of
from grange.storage.stores.redis_sets import SCRIPTS, call_of, outcome_of
from grange.storage.trial import STATE, trial_grain, try_storage

# Pipelines at a time. With more lanes each would carry fewer sets.
_LANES = 4


class RedisStorage(RedisQueries):
    """Records in Redis, through a client that belongs to the caller and is left open.

    A client of your own should have retries switched off (`retry=Retry(NoBackoff(), 0)`): a write that is
    sent again after a lost connection finds its own etag gone and raises `InconsistentStateError`.
    """

    def __init__(self, client: Redis | RedisLink, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(service, options, _LANES)
        self._link = client if isinstance(client, RedisLink) else RedisLink(client)
        self._client = self._link.client

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[RedisStorage]:
        """Connect to `redis://[[user]:password@]host[:port][/database]`, `rediss://…` (TLS) or `redis+sentinel://…`."""
        connect = RedisOptions(options.connections, options.connect_timeout, decode=False)
        async with RedisLink.open(url, connect) as link:
            with storage_errors("connection at start: "):
                await link.connect(options.connect_timeout)
            storage = cls(link, service, options)
            try:
                yield storage
            finally:
                await storage.flush()

    @classmethod
    async def try_out(cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> list[StoreFinding]:
        """See `TriedStorageFactory`."""
        grain, writer = trial_grain()
        async with cls.open(url, service, options) as storage:
            keys = storage._keys.record((grain.type, grain.key, STATE)), storage._keys.death(writer.endpoint)
            with storage_errors(), at_start():
                waits = [("WAIT", 0, 1)] if storage._link.copies else []
                await storage._link.require([*_commands(*keys), *waits])
            try:
                return await try_storage(storage, grain, writer)
            finally:
                await storage._expire(keys)

    async def _expire(self, keys: Sequence[str]) -> None:
        with storage_errors():
            async with self._link.operation(self._options.operation_timeout):
                for key in keys:
                    await cast("Any", self._client).expire(key, 0)

    async def _read(self, name: Name) -> StateRecord:
        with storage_errors(), self._link.errors():
            return record_of(await cast("Any", self._client).hmget(self._keys.record(name), FIELDS))

    async def _read_all(self, names: Sequence[Name]) -> dict[Name, StateRecord]:
        """Without the payloads: only the reason of a refusal is wanted."""
        answers = await self._ask_all([("HMGET", self._keys.record(name), *FIELDS[1:]) for name in names])
        return {name: record_of((None, *fields)) for name, fields in zip(names, answers, strict=True)}

    async def _ask_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        with storage_errors(), self._link.errors():
            async with self._link.connection() as connection:
                answers = await ask_all(connection, commands)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

    async def _script(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        with storage_errors(), self._link.errors():
            client, call = cast("Any", self._client), (sha_of(script), len(keys), *keys, *arguments)
            try:
                return await client.evalsha(*call)
            except NoScriptError:
                await client.script_load(script)
                return await client.evalsha(*call)

    async def _store(self, batch: Sequence[QueuedSet]) -> dict[QueuedSet, Committed]:
        answers = await self._run(batch)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # The server has restarted or is new. It did not run a script that it did not know: sending again is safe.
            again = await self._load_scripts_and_run([batch[index] for index in unknown])
            for index, answer in zip(unknown, again, strict=True):
                answers[index] = answer
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            # A failover made it a replica. Reads on old connections would still succeed, and return old records.
            await self._link.drop_connections()
        return self._stored(batch, answers)

    async def _load_scripts_and_run(self, batch: Sequence[QueuedSet]) -> list[Any]:
        try:
            with storage_errors():
                async with self._link.operation(self._options.operation_timeout):
                    await asyncio.gather(*map(cast("Any", self._client).script_load, SCRIPTS))
            return await self._run(batch)
        except StorageError as error:
            # Not raised: the rest of the batch has its own outcomes.
            return [error] * len(batch)

    async def _run(self, batch: Sequence[QueuedSet]) -> list[Any]:
        sending, answers = Sending(), iter(())
        with storage_errors(sending=sending):
            # Connected before the sending begins: without a connection nothing has left.
            async with self._link.operation(self._options.operation_timeout), self._link.connection() as connection:
                wanted = sending.begin(batch)
                if wanted:
                    calls = [("EVALSHA", *call_of(self._keys, queued)) for queued in wanted]
                    answers = iter(await self._link.send(connection, calls))
        sent = set(wanted)
        return [next(answers) if queued in sent else None for queued in batch]

    async def _record_deaths(self, silos: Sequence[SiloAddress]) -> None:
        with storage_errors(), self._link.errors():
            calls = [
                ("EVAL", RECORD_DEATH, 1, self._keys.death(silo.endpoint), silo.generation, DEATHS_KEPT)
                for silo in silos
            ]
            async with self._link.connection() as connection:
                answers = await self._link.send(connection, calls)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer

    async def _dead_generation(self, endpoint: str) -> int:
        with storage_errors(), self._link.errors():
            dead = await self._client.get(self._keys.death(endpoint))
        return 0 if dead is None else int(dead)

    def _stored(self, batch: Sequence[QueuedSet], answers: Sequence[Any]) -> dict[QueuedSet, Committed]:
        stored: dict[QueuedSet, Committed] = {}
        for queued, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                queued.fail(answer if isinstance(answer, StorageError) else storage_error(self._link.error(answer)))
            elif answer is not None:
                stored[queued] = outcome_of(queued.changes)
        return stored


def _commands(record: str, death: str) -> list[tuple[str | int, ...]]:
    """Every command that the store needs, in a form that changes nothing. `record` is the key of no record yet."""
    return [
        *(("HGET", record, "x"), ("HMGET", record, "x"), ("HDEL", record, "x"), ("EXPIRE", record, 0)),
        *(("HSET", record, "x", "1", "a field without a value"), ("HEXISTS", record, "x"), ("HGETALL", record)),
        *(("ZADD", record, "no number", "x"), ("ZREM", record, "x"), ("ZMSCORE", record, "x")),
        *(("ZRANGEBYLEX", record, "-", "+"), ("ZREVRANGEBYLEX", record, "+", "-"), ("ZLEXCOUNT", record, "-", "+")),
        *(("ZRANGEBYSCORE", record, 0, 1), ("TIME",)),
        *(("GET", death), ("SET", death, "1", "XX"), ("EXPIRE", death, 0)),
        *(("EVAL", "return 1", 0), ("SCRIPT", "LOAD", "return 1"), ("EVALSHA", "no-script", 0)),
    ]
