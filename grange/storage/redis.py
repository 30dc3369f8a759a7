"""State in Redis (or Valkey): one hash per record, changed by one Lua script per operation.

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
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
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
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from grange.errors import ConfigurationError, StorageError, StorageUnavailable
from grange.proto.ids import GrainId
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import check_name, check_payload, check_service, inconsistent
from grange.storage.urls import has_valid_hosts

# Both return {1, new etag} or {0, stored etag}; an empty text stands for "no record".
_WRITE = """
local stored = redis.call('HGET', KEYS[1], 'etag') or ''
if stored ~= ARGV[1] then return {0, stored} end
redis.call('HSET', KEYS[1], 'payload', ARGV[2], 'schema', ARGV[3])
return {1, tostring(redis.call('HINCRBY', KEYS[1], 'etag', 1))}
"""

_CLEAR = """
local stored = redis.call('HGET', KEYS[1], 'etag') or ''
if stored ~= ARGV[1] then return {0, stored} end
if stored == '' then return {1, ''} end
redis.call('HDEL', KEYS[1], 'payload')
return {1, tostring(redis.call('HINCRBY', KEYS[1], 'etag', 1))}
"""

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


class RedisStorage:
    """Records in Redis, through a client that belongs to the caller and is left open.

    A client of your own should have retries switched off (`retry=Retry(NoBackoff(), 0)`): a write that is
    sent again after a lost connection finds its own etag gone and raises `InconsistentStateError`.
    """

    def __init__(self, client: Redis, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> None:
        self._client = client
        self._service = check_service(service)
        self._options = options
        self._write = client.register_script(_WRITE)
        self._clear = client.register_script(_CLEAR)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[RedisStorage]:
        """Connect to `redis://[[user]:password@]host[:port][/database]` or `rediss://…` (TLS)."""
        client = Redis(connection_pool=_pool(url, options))
        try:
            async with _typed_errors("connection at start", options.connect_timeout):
                await _connect_once(client)
            yield cls(client, service, options)
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`."""
        key = self._key(grain_id, state)
        async with self._typed(f"read of state {state!r} of {grain_id}"):
            fields = await cast("Any", self._client).hmget(key, ["payload", "etag", "schema"])
        payload, etag, schema = fields
        if etag is None:
            return StateRecord(None, None)
        return StateRecord(None if payload is None else _bytes(payload), _text(etag), int(schema))

    async def write(self, grain_id: GrainId, state: str, payload: bytes, etag: str | None, schema: int = 1) -> str:
        """See `GrainStorage.write`."""
        key = self._key(grain_id, state)
        check_payload(grain_id, state, payload, self._options.payload_limit)
        async with self._typed(f"write of state {state!r} of {grain_id}"):
            answer = await self._write(keys=[key], args=[_given(etag), payload, schema])
        return self._new_etag(grain_id, state, etag, answer)

    async def clear(self, grain_id: GrainId, state: str, etag: str | None) -> str | None:
        """See `GrainStorage.clear`."""
        key = self._key(grain_id, state)
        async with self._typed(f"clear of state {state!r} of {grain_id}"):
            answer = await self._clear(keys=[key], args=[_given(etag)])
        return self._new_etag(grain_id, state, etag, answer) or None

    def _key(self, grain_id: GrainId, state: str) -> str:
        check_name(self._service, grain_id, state)
        parts = (self._service, grain_id.type, grain_id.key, state)
        return "grange:state:" + ":".join(part.replace("%", "%25").replace(":", "%3A") for part in parts)

    def _new_etag(self, grain_id: GrainId, state: str, given: str | None, answer: Any) -> str:
        accepted, etag = int(answer[0]), _text(answer[1])
        if not accepted:
            raise inconsistent(grain_id, state, stored=etag or None, given=given)
        return etag

    @asynccontextmanager
    async def _typed(self, what: str) -> AsyncGenerator[None]:
        async with _typed_errors(what, self._options.operation_timeout):
            yield


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


@asynccontextmanager
async def _typed_errors(what: str, limit: float) -> AsyncGenerator[None]:
    """Bound the time and turn the driver's errors into grange's."""
    try:
        async with asyncio.timeout(limit):
            yield
    except _UNAVAILABLE as error:
        raise StorageUnavailable(f"Redis is not available for the {what}: {_reason(error)}") from error
    except RedisError as error:
        raise StorageError(f"Redis refused the {what}: {error}") from error


def _given(etag: str | None) -> str:
    """An etag as the scripts compare it: an empty text for "no record", which no made-up etag may pass for."""
    return "" if etag is None else etag or "-"


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _text(value: bytes | str | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
