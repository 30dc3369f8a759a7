"""State in Redis (or Valkey): one hash per record, changed by one Lua script per operation.

Changes that wait for each other are sent together, in one pipeline (`changes.py`).

Key layout: `grange:state:<service>:<grain type>:<key>:<state name>`, each part with `%` and `:` written as
`%25` and `%3A`. Fields of the hash: `etag` (a counter), `payload` (JSON text; absent after a clear),
`schema`, `writer` (the silo that changed it last) and `number` (of that change). A cleared record keeps its hash, so
that its etags never come back. `grange:dead:<service>:<endpoint>` is the latest generation of that endpoint that was
declared dead; the script of a change reads it in the same step, so both keys must be on one server: a Redis Cluster,
which spreads keys, cannot be used.

Redis keeps what its persistence keeps: with `appendonly yes` and `appendfsync everysec` a power failure may
take the last second.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from grange.aio.awake import AwakeTimeout
from grange.databases.redis import masters_only
from grange.databases.resets import is_reset
from grange.errors import ConfigurationError, StorageError, StorageUnavailable
from grange.proto.ids import SiloAddress
from grange.storage.changes import Change, Name, Sending
from grange.storage.database import DEATHS_KEPT, DatabaseStorage
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import stamp_of
from grange.storage.urls import has_valid_hosts, shown_hosts

# KEYS: the record, and the death note of its writer's endpoint. ARGV: the etag that must be stored (empty: no record),
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

# KEYS: the death note of one endpoint. ARGV: the generation, and the seconds that the note is kept.
_BURY = """
local dead = redis.call('GET', KEYS[1])
if not dead or tonumber(dead) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""

_FIELDS = ("payload", "etag", "schema", "writer", "number")

# Pipelines at a time; more of them would carry fewer changes each.
_LANES = 4

_UNAVAILABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
    OSError,
)


class RedisStorage(DatabaseStorage):
    """Records in Redis, through a client that belongs to the caller and is left open.

    A client of your own should have retries switched off (`retry=Retry(NoBackoff(), 0)`): a write that is
    sent again after a lost connection finds its own etag gone and raises `InconsistentStateError`.
    """

    def __init__(self, client: Redis, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(service, options, _LANES)
        self._client = client
        self._script = client.register_script(_CHANGE)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[RedisStorage]:
        """Connect to `redis://[[user]:password@]host[:port][/database]` or `rediss://…` (TLS)."""
        client = Redis(connection_pool=_pool(url, options))
        try:
            with _typed_errors(f"connection to {shown_hosts(url)} at start: "):
                async with asyncio.timeout(options.connect_timeout):
                    await _connect_once(client)
            storage = cls(client, service, options)
            try:
                yield storage
            finally:
                await storage.flush()
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()

    async def _read(self, name: Name) -> StateRecord:
        with _typed_errors():
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
            # The server has restarted or is new. What it did not know it did not run: it may be sent again.
            again = await self._taught([batch[index] for index in unknown])
            for index, answer in zip(unknown, again, strict=True):
                answers[index] = answer
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            # A failover made it a replica. Reads would go on and be behind; new connections ask for its role (R10).
            await self._client.connection_pool.disconnect(inuse_connections=False)
        return _stored(batch, answers)

    async def _taught(self, batch: Sequence[Change]) -> list[Any]:
        try:
            with _typed_errors():
                async with AwakeTimeout(self._options.operation_timeout):
                    await cast("Any", self._client).script_load(_CHANGE)
            return await self._run(batch)
        except StorageError as error:
            # Not raised: the rest of the batch has its outcome.
            return [error] * len(batch)

    async def _run(self, batch: Sequence[Change]) -> list[Any]:
        sending = Sending()
        with _typed_errors(sending=sending):
            async with AwakeTimeout(self._options.operation_timeout):
                pipeline = cast("Any", self._client).pipeline(transaction=False)
                # Apart from the sending: without a connection nothing has left. The pipeline hands it back.
                pipeline.connection = await cast("Any", self._client).connection_pool.get_connection()
                wanted = sending.begin(batch)
                for change in wanted:
                    pipeline.evalsha(self._script.sha, *self._arguments(change))
                if not wanted:
                    await pipeline.reset()
                    return [None] * len(batch)
                answers = iter(await pipeline.execute(raise_on_error=False))
                sent = set(wanted)
                return [next(answers) if change in sent else None for change in batch]

    def _arguments(self, change: Change) -> list[Any]:
        writer, endpoint, generation, number = change.writer, "", "", ""
        if change.stamp is not None and writer is not None:
            endpoint, generation, number = writer.endpoint, str(writer.generation), str(change.stamp.number)
        keys = (self._key(change.name), self._death_key(endpoint))
        payload = () if change.payload is None else (change.payload,)
        return [2, *keys, change.etag or "", change.schema or "", endpoint, generation, number, *payload]

    async def _bury(self, silos: Sequence[SiloAddress]) -> None:
        with _typed_errors():
            for silo in silos:
                key = self._death_key(silo.endpoint)
                await cast("Any", self._client).eval(_BURY, 1, key, silo.generation, DEATHS_KEPT)

    async def _is_dead(self, writer: SiloAddress) -> bool:
        with _typed_errors():
            dead = await self._client.get(self._death_key(writer.endpoint))
        return dead is not None and int(dead) >= writer.generation

    def _death_key(self, endpoint: str) -> str:
        return "grange:dead:" + ":".join(_escaped(part) for part in (self._service, endpoint))

    def _key(self, name: Name) -> str:
        parts = (self._service, *name)
        return "grange:state:" + ":".join(_escaped(part) for part in parts)


def _escaped(part: str) -> str:
    return part.replace("%", "%25").replace(":", "%3A")


def _stored(batch: Sequence[Change], answers: Sequence[Any]) -> dict[Name, int]:
    stored: dict[Name, int] = {}
    for change, answer in zip(batch, answers, strict=True):
        if isinstance(answer, Exception):
            change.fail(answer if isinstance(answer, StorageError) else _typed_error(answer))
        elif answer is not None:
            stored[change.name] = int(answer)
    return stored


def _pool(url: str, options: StorageOptions) -> BlockingConnectionPool:
    try:
        # The driver would take any other path for database 0.
        if not has_valid_hosts(url) or not re.fullmatch(r"/?\d*", urlsplit(url).path):
            raise ValueError
        # The driver's `from_url` is not fully annotated.
        pool: BlockingConnectionPool = cast("Any", BlockingConnectionPool).from_url(
            url,
            max_connections=options.connections,
            timeout=None,  # as for the next: `AwakeTimeout` bounds every operation, and sees when we stood still
            socket_connect_timeout=options.connect_timeout,
            socket_timeout=None,
            redis_connect_func=masters_only,
            # A script that was sent may have run, so the driver never sends it twice.
            retry=Retry(NoBackoff(), 0),
        )
    except (ValueError, TypeError):
        # Neither the URL nor the driver's message is shown: both may hold the password.
        raise ConfigurationError(
            "the Redis URL is malformed; expected redis://[[user]:password@]host[:port][/database]"
        ) from None
    return pool


async def _connect_once(client: Redis) -> None:
    try:
        await cast("Any", client).ping()
    except (AuthenticationError, AuthorizationError) as error:
        raise ConfigurationError(f"Redis refused the login that its URL names: {error}") from None


@contextmanager
def _typed_errors(prefix: str = "", sending: Sending | None = None) -> Generator[None]:
    """Turn the driver's errors into grange's."""
    try:
        yield
    except TimeoutError:
        lost = StorageUnavailable if sending is None else sending.lost
        raise lost(f"{prefix}Redis did not answer in time") from None
    except RuntimeError as error:
        if not is_reset(error):
            raise
        lost = StorageUnavailable if sending is None else sending.lost
        raise lost(f"{prefix}Redis is not available: the connection was reset ({error})") from error
    except (RedisError, OSError) as error:
        raise _typed_error(error, prefix, sending) from error


def _typed_error(error: Exception, prefix: str = "", sending: Sending | None = None) -> StorageError:
    if isinstance(error, _UNAVAILABLE):
        lost = StorageUnavailable if sending is None else sending.lost
        return lost(f"{prefix}Redis is not available: {str(error) or type(error).__name__}")
    return StorageError(f"{prefix}Redis refused: {error}")


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _text(value: bytes | str | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
