"""The membership table in Redis or Valkey: the default of a real cluster.

One hash per cluster holds `incarnation`, `version` and, per silo, a field `silo:<address>` with its row as
JSON; every change is one Lua script over it (a compare-and-swap). A second hash holds the `alive` times, so
that telling them never disturbs a change. Both keys carry the cluster's name as hash tag and so live in one
slot of a Redis Cluster.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

import msgspec
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from grange.errors import ConfigurationError, MembershipError, MembershipUnavailable
from grange.membership.member import Member, SiloStatus
from grange.membership.provider import FRESH, Row, Table, TableVersion, table_version
from grange.membership.rows import member_from_json, member_to_json, time_from_text, time_to_text
from grange.proto.ids import SiloAddress

OPERATION_TIMEOUT = 2.0
"""Seconds that one operation may take, connecting included."""

_ROW = "silo:"

# Arguments: incarnation and version expected (both '' for a fresh table), field, row etag expected ('' = no
# such row), row, alive, incarnation to draw.
_CHANGE = """
local found = redis.call('HMGET', KEYS[1], 'incarnation', 'version', ARGV[3])
if (found[1] or '') ~= ARGV[1] or (found[2] or '') ~= ARGV[2] then return 0 end
local etag = ''
if found[3] then etag = cjson.decode(found[3]).etag end
if etag ~= ARGV[4] then return 0 end
if not found[1] then redis.call('HSET', KEYS[1], 'incarnation', ARGV[7]) end
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], ARGV[3], ARGV[5])
local alive = redis.call('HGET', KEYS[2], ARGV[3])
if not alive or alive < ARGV[6] then redis.call('HSET', KEYS[2], ARGV[3], ARGV[6]) end
return 1
"""

_ALIVE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local alive = redis.call('HGET', KEYS[2], ARGV[1])
if not alive or alive < ARGV[2] then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
return 1
"""

# Arguments: the prefix of row fields, the status to keep, the time before which a row must be.
_CLEANUP = """
local gone = 0
local all = redis.call('HGETALL', KEYS[1])
for place = 1, #all, 2 do
  local field = all[place]
  if string.sub(field, 1, #ARGV[1]) == ARGV[1] then
    local row = cjson.decode(all[place + 1])
    local alive = redis.call('HGET', KEYS[2], field) or row.started
    if row.status ~= ARGV[2] and row.started < ARGV[3] and alive < ARGV[3] then
      redis.call('HDEL', KEYS[1], field)
      redis.call('HDEL', KEYS[2], field)
      gone = gone + 1
    end
  end
end
if gone > 0 then redis.call('HINCRBY', KEYS[1], 'version', 1) end
return gone
"""


class _Stored(msgspec.Struct, frozen=True):
    """A row's field: the member as JSON inside JSON with what the scripts look at beside it."""

    etag: str
    status: str
    started: str
    member: msgspec.Raw


class RedisMembershipTable:
    """A cluster's table in one Redis. The driver never repeats a command: a change whose answer is lost is unknown."""

    def __init__(self, client: redis.asyncio.Redis, place: str, cluster: str) -> None:
        self._client = client
        self._place = place
        self._keys = [f"grange:{{{cluster}}}:membership", f"grange:{{{cluster}}}:alive"]
        self._change = client.register_script(_CHANGE)
        self._alive = client.register_script(_ALIVE)
        self._cleanup = client.register_script(_CLEANUP)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, cluster: str) -> AsyncGenerator[RedisMembershipTable, None]:
        """`redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS. See TableFactory."""
        try:
            client = redis.asyncio.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
                url,
                decode_responses=True,
                socket_timeout=OPERATION_TIMEOUT,
                socket_connect_timeout=OPERATION_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise ConfigurationError(f"not a Redis membership URL: {error}; write 'redis://host:port/0'") from error
        connection = client.connection_pool.connection_kwargs
        place = f"{connection.get('host', 'localhost')}:{connection.get('port', 6379)}"
        try:
            table = cls(client, place, cluster)
            await table.read()
            yield table
        finally:
            await client.aclose()

    async def read(self) -> Table:
        """See MembershipTable."""
        async with self._operation():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hgetall(self._keys[0])
            pipeline.hgetall(self._keys[1])
            fields, alive = await pipeline.execute()
        rows = (_row(text, alive.get(field)) for field, text in sorted(fields.items()) if field.startswith(_ROW))
        return Table(_version(fields.get("incarnation"), fields.get("version")), tuple(rows))

    async def read_row(self, address: SiloAddress) -> tuple[Row | None, TableVersion]:
        """See MembershipTable."""
        field = f"{_ROW}{address}"
        async with self._operation():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hmget(self._keys[0], ["incarnation", "version", field])
            pipeline.hget(self._keys[1], field)
            (incarnation, version, text), alive = await pipeline.execute()
        return (None if text is None else _row(text, alive)), _version(incarnation, version)

    async def insert(self, member: Member, version: TableVersion) -> bool:
        """See MembershipTable."""
        return await self._write(member, "", version)

    async def update(self, member: Member, row_etag: str, version: TableVersion) -> bool:
        """See MembershipTable."""
        return bool(row_etag) and await self._write(member, row_etag, version)

    async def alive(self, address: SiloAddress, time: datetime) -> None:
        """See MembershipTable."""
        async with self._operation():
            await self._alive(keys=self._keys, args=[f"{_ROW}{address}", time_to_text(time)])

    async def cleanup(self, before: datetime) -> int:
        """See MembershipTable."""
        async with self._operation():
            return int(await self._cleanup(keys=self._keys, args=[_ROW, SiloStatus.ACTIVE, time_to_text(before)]))

    async def delete(self) -> None:
        """See MembershipTable."""
        async with self._operation():
            await self._client.delete(*self._keys)

    async def _write(self, member: Member, row_etag: str, version: TableVersion) -> bool:
        fresh = version == FRESH
        json = msgspec.Raw(member_to_json(member).encode())
        stored = _Stored(str(version.number + 1), member.status, time_to_text(member.started), json)
        arguments = [
            *(("", "") if fresh else (version.incarnation, str(version.number))),
            f"{_ROW}{member.address}",
            row_etag,
            msgspec.json.encode(stored).decode(),
            time_to_text(member.alive),
            secrets.token_hex(16),
        ]
        async with self._operation():
            return bool(await self._change(keys=self._keys, args=arguments))

    @asynccontextmanager
    async def _operation(self) -> AsyncGenerator[None, None]:
        with _mapped(self._place):
            async with asyncio.timeout(OPERATION_TIMEOUT):
                yield


def _version(incarnation: str | None, version: str | None) -> TableVersion:
    return table_version(incarnation, int(version)) if incarnation and version else FRESH


def _row(text: str, alive: str | None) -> Row:
    try:
        stored = msgspec.json.decode(text, type=_Stored)
    except msgspec.MsgspecError as error:
        raise MembershipError(f"a row of the membership table cannot be read: {error}; row: {text!r:.200}") from error
    told = alive or stored.started
    return Row(member_from_json(stored.member, time_from_text(told)), stored.etag)


@contextmanager
def _mapped(place: str) -> Generator[None, None, None]:
    """Turn what the driver raises into errors of ours."""
    try:
        yield
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError, TimeoutError) as error:
        raise MembershipUnavailable(
            f"the membership table in Redis at {place} did not answer within {OPERATION_TIMEOUT} s: {error}"
        ) from error
    except redis.exceptions.RedisError as error:
        raise MembershipUnavailable(f"Redis at {place} refused a membership operation: {error}") from error
