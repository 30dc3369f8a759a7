"""State in Redis (or Valkey): one hash per record, changed by one Lua script per operation.

Changes that wait for each other are sent together, in one pipeline (`changes.py`).

Key layout: `grange:state:<service>:<grain type>:<key>:<state name>`, each part with `%` and `:` written as
`%25` and `%3A`. Fields of the hash: `etag` (a counter), `payload` (JSON text; absent after a clear),
`schema`. A cleared record keeps its hash, so that its etags never come back. One key per operation: works
on a Redis cluster too.

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

from grange.errors import ConfigurationError, StorageError, StorageUnavailable
from grange.storage.changes import Change, Name
from grange.storage.database import DatabaseStorage
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.urls import has_valid_hosts, shown_hosts

# ARGV: the etag that must be stored (empty: no record), the schema (empty: unchanged), and for a write the payload.
# Returns the new etag, or nothing when another one is stored. One script for write and clear: a batch needs one SHA.
_CHANGE = """
local stored = redis.call('HGET', KEYS[1], 'etag') or ''
if stored ~= ARGV[1] then return false end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'schema', ARGV[2]) end
if ARGV[3] then redis.call('HSET', KEYS[1], 'payload', ARGV[3]) else redis.call('HDEL', KEYS[1], 'payload') end
return redis.call('HINCRBY', KEYS[1], 'etag', 1)
"""

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
            fields = await cast("Any", self._client).hmget(self._key(name), ["payload", "etag", "schema"])
        payload, etag, schema = fields
        if etag is None:
            return StateRecord(None, None)
        return StateRecord(None if payload is None else _bytes(payload), _text(etag), int(schema))

    async def _store(self, batch: Sequence[Change]) -> dict[Name, int]:
        answers = await self._run(batch)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # The server has restarted or is new. What it did not know it did not run: it may be sent again.
            again = await self._taught([batch[index] for index in unknown])
            for index, answer in zip(unknown, again, strict=True):
                answers[index] = answer
        return _stored(batch, answers)

    async def _taught(self, batch: Sequence[Change]) -> list[Any]:
        try:
            with _typed_errors():
                await cast("Any", self._client).script_load(_CHANGE)
            return await self._run(batch)
        except StorageError as error:
            # Not raised: the rest of the batch has its outcome.
            return [error] * len(batch)

    async def _run(self, batch: Sequence[Change]) -> list[Any]:
        with _typed_errors():
            async with asyncio.timeout(self._options.operation_timeout):
                pipeline = cast("Any", self._client).pipeline(transaction=False)
                for change in batch:
                    payload = () if change.payload is None else (change.payload,)
                    given, schema = change.etag or "", change.schema or ""
                    pipeline.evalsha(self._script.sha, 1, self._key(change.name), given, schema, *payload)
                answers: list[Any] = await pipeline.execute(raise_on_error=False)
                return answers

    def _key(self, name: Name) -> str:
        parts = (self._service, *name)
        return "grange:state:" + ":".join(part.replace("%", "%25").replace(":", "%3A") for part in parts)


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
            timeout=options.operation_timeout,
            socket_connect_timeout=options.connect_timeout,
            socket_timeout=options.operation_timeout,
            # A script that was sent may have run, so it is never sent twice.
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
def _typed_errors(prefix: str = "") -> Generator[None]:
    """Turn the driver's errors into grange's."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise _typed_error(error, prefix) from error


def _typed_error(error: Exception, prefix: str = "") -> StorageError:
    if isinstance(error, _UNAVAILABLE):
        return StorageUnavailable(f"{prefix}Redis is not available: {str(error) or type(error).__name__}")
    return StorageError(f"{prefix}Redis refused: {error}")


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _text(value: bytes | str | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
