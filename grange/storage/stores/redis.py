"""State in Redis (or Valkey): one hash per record, changed by one Lua script per operation.

Changes that wait for each other are sent together, in one pipeline (`changes.py`).

Key layout: `grange:state:<service>:<grain type>:<key>:<state name>`, each part with `%` and `:` written as
`%25` and `%3A`. Fields of the hash: `etag` (a counter), `payload` (JSON text; absent after a clear),
`schema`, `writer` (the silo that changed it last) and `number` (of that change). A cleared record keeps its hash, so
that its etags never come back. `grange:dead:<service>:<endpoint>` is the latest generation of that endpoint that was
declared dead; the script of a change reads it in the same step, so both keys must be on one server: a Redis Cluster,
which spreads keys, cannot be used.

Durability is that of Redis' persistence: with `appendonly yes` and `appendfsync everysec` a power failure may lose the
writes of the last second. Behind Sentinels a change is acknowledged once a replica has it (`RedisLink.send`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ReadOnlyError

from grange.databases.errors import at_start
from grange.databases.findings import StoreFinding
from grange.databases.redis import RedisLink
from grange.databases.redis_clients import RedisOptions
from grange.errors import StorageError
from grange.proto.ids import SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import stamp_of
from grange.storage.stores.changes import Change, Name, Sending
from grange.storage.stores.database import DEATHS_KEPT, DatabaseStorage, storage_error, storage_errors
from grange.storage.trial import STATE, trial_grain, try_storage

# KEYS: the record, and the recorded death of its writer's endpoint. ARGV: the etag that must be stored (empty: none),
# the schema (empty: unchanged), the writer's endpoint and generation and the number of the change (empty: no writer),
# and for a write the payload. Returns the new etag, or nothing when another one is stored or the writer is dead. One
# script for write and clear: a batch needs one SHA. Generations have fewer digits than Lua's numbers.
_CHANGE = """
local stored = redis.call('HGET', KEYS[1], 'etag') or ''
if stored ~= ARGV[1] then return false end
if ARGV[3] ~= '' then
  local dead = redis.call('GET', KEYS[2])
  if dead and tonumber(dead) >= tonumber(ARGV[4]) then return false end
  redis.call('HSET', KEYS[1], 'writer', ARGV[3] .. '@' .. ARGV[4], 'number', ARGV[5])
else
  redis.call('HDEL', KEYS[1], 'writer', 'number')
end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'schema', ARGV[2]) end
if ARGV[6] then redis.call('HSET', KEYS[1], 'payload', ARGV[6]) else redis.call('HDEL', KEYS[1], 'payload') end
return redis.call('HINCRBY', KEYS[1], 'etag', 1)
"""

# KEYS: the recorded death of one endpoint. ARGV: the generation, and the seconds that the record is kept.
_RECORD_DEATH = """
local dead = redis.call('GET', KEYS[1])
if not dead or tonumber(dead) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""

_FIELDS = ("payload", "etag", "schema", "writer", "number")

# Pipelines at a time. With more lanes each would carry fewer changes.
_LANES = 4


class RedisStorage(DatabaseStorage):
    """Records in Redis, through a client that belongs to the caller and is left open.

    A client of your own should have retries switched off (`retry=Retry(NoBackoff(), 0)`): a write that is
    sent again after a lost connection finds its own etag gone and raises `InconsistentStateError`.
    """

    def __init__(self, client: Redis | RedisLink, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(service, options, _LANES)
        self._link = client if isinstance(client, RedisLink) else RedisLink(client)
        self._client = self._link.client
        self._script = self._client.register_script(_CHANGE)

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
            keys = storage._key((grain.type, grain.key, STATE)), storage._death_key(writer.endpoint)
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
            fields = await cast("Any", self._client).hmget(self._key(name), _FIELDS)
        payload, etag, schema, writer, number = fields
        if etag is None:
            return StateRecord(None, None)
        stamp = None if writer is None or number is None else stamp_of(_text(writer), int(number))
        return StateRecord(None if payload is None else _bytes(payload), _text(etag), int(schema), stamp)

    async def _store(self, batch: Sequence[Change]) -> dict[Name, int]:
        answers = await self._run(batch)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # The server has restarted or is new. It did not run a script that it did not know: sending again is safe.
            again = await self._load_script_and_run([batch[index] for index in unknown])
            for index, answer in zip(unknown, again, strict=True):
                answers[index] = answer
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            # A failover made it a replica. Reads on old connections would still succeed, and return old records.
            await self._link.drop_connections()
        return self._stored(batch, answers)

    async def _load_script_and_run(self, batch: Sequence[Change]) -> list[Any]:
        try:
            with storage_errors():
                async with self._link.operation(self._options.operation_timeout):
                    await cast("Any", self._client).script_load(_CHANGE)
            return await self._run(batch)
        except StorageError as error:
            # Not raised: the rest of the batch has its own outcomes.
            return [error] * len(batch)

    async def _run(self, batch: Sequence[Change]) -> list[Any]:
        sending = Sending()
        with storage_errors(sending=sending):
            async with self._link.operation(self._options.operation_timeout):
                pipeline = cast("Any", self._client).pipeline(transaction=False)
                # Connect before the sending begins: without a connection nothing has left. The pipeline releases it.
                pipeline.connection = await cast("Any", self._client).connection_pool.get_connection()
                wanted = sending.begin(batch)
                for change in wanted:
                    pipeline.evalsha(self._script.sha, *self._arguments(change))
                if not wanted:
                    await pipeline.reset()
                    return [None] * len(batch)
                answers = iter(await self._link.send(pipeline))
                sent = set(wanted)
                return [next(answers) if change in sent else None for change in batch]

    def _arguments(self, change: Change) -> list[Any]:
        writer, endpoint, generation, number = change.writer, "", "", ""
        if change.stamp is not None and writer is not None:
            endpoint, generation, number = writer.endpoint, str(writer.generation), str(change.stamp.number)
        keys = (self._key(change.name), self._death_key(endpoint))
        payload = () if change.payload is None else (change.payload,)
        return [2, *keys, change.etag or "", change.schema or "", endpoint, generation, number, *payload]

    async def _record_deaths(self, silos: Sequence[SiloAddress]) -> None:
        with storage_errors(), self._link.errors():
            pipeline = cast("Any", self._client).pipeline(transaction=False)
            for silo in silos:
                pipeline.eval(_RECORD_DEATH, 1, self._death_key(silo.endpoint), silo.generation, DEATHS_KEPT)
            for answer in await self._link.send(pipeline):
                if isinstance(answer, Exception):
                    raise answer

    async def _dead_generation(self, endpoint: str) -> int:
        with storage_errors(), self._link.errors():
            dead = await self._client.get(self._death_key(endpoint))
        return 0 if dead is None else int(dead)

    def _death_key(self, endpoint: str) -> str:
        return "grange:dead:" + ":".join(_escaped(part) for part in (self._service, endpoint))

    def _key(self, name: Name) -> str:
        parts = (self._service, *name)
        return "grange:state:" + ":".join(_escaped(part) for part in parts)

    def _stored(self, batch: Sequence[Change], answers: Sequence[Any]) -> dict[Name, int]:
        stored: dict[Name, int] = {}
        for change, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                change.fail(answer if isinstance(answer, StorageError) else storage_error(self._link.error(answer)))
            elif answer is not None:
                stored[change.name] = int(answer)
        return stored


def _commands(record: str, death: str) -> list[tuple[str | int, ...]]:
    """Every command that the store needs, in a form that changes nothing."""
    return [
        *(("HGET", record, "x"), ("HMGET", record, "x"), ("HDEL", record, "x"), ("EXPIRE", record, 0)),
        *(("HSET", record, "x", "1", "a field without a value"), ("HINCRBY", record, "x", "no number")),
        *(("GET", death), ("SET", death, "1", "XX"), ("EXPIRE", death, 0)),
        *(("EVAL", "return 1", 0), ("SCRIPT", "LOAD", "return 1"), ("EVALSHA", "no-script", 0)),
    ]


def _escaped(part: str) -> str:
    return part.replace("%", "%25").replace(":", "%3A")


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _text(value: bytes | str | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
