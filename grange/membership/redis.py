"""The membership table in Redis or Valkey: the default of a real cluster.

One hash per cluster holds `incarnation`, `version` and, per silo, a field `silo:<address>` with its row as
JSON; every change is one Lua script over it (a compare-and-swap). A second hash holds the `alive` times, so
that telling them never disturbs a change. Both keys carry the cluster's name as hash tag and so live in one
slot of a Redis Cluster.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Generator, Sequence
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
from grange.membership.redis_scripts import ALIVE, CHANGE, CLEANUP, REBUILD
from grange.membership.rows import member_from_json, member_to_json, time_from_text, time_to_text
from grange.proto.ids import SiloAddress

OPERATION_TIMEOUT = 2.0
"""Seconds that one operation may take, connecting included."""

_ROW = "silo:"


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
        self._change = client.register_script(CHANGE)
        self._rebuild = client.register_script(REBUILD)
        self._alive = client.register_script(ALIVE)
        self._cleanup = client.register_script(CLEANUP)

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

    async def rebuild(self, members: Sequence[Member], seen: TableVersion, number: int) -> bool:
        """See MembershipTable."""
        rows = ((f"{_ROW}{each.address}", _stored(each, number), time_to_text(each.alive)) for each in members)
        arguments = [*_expected(seen), secrets.token_hex(16), str(number), *(part for row in rows for part in row)]
        async with self._operation():
            return bool(await self._rebuild(keys=self._keys, args=arguments))

    async def alive(self, address: SiloAddress, time: datetime) -> bool:
        """See MembershipTable."""
        async with self._operation():
            return bool(await self._alive(keys=self._keys, args=[f"{_ROW}{address}", time_to_text(time)]))

    async def cleanup(self, before: datetime) -> int:
        """See MembershipTable."""
        async with self._operation():
            return int(await self._cleanup(keys=self._keys, args=[_ROW, SiloStatus.ACTIVE, time_to_text(before)]))

    async def delete(self) -> None:
        """See MembershipTable."""
        async with self._operation():
            await self._client.delete(*self._keys)

    async def _write(self, member: Member, row_etag: str, version: TableVersion) -> bool:
        arguments = [
            *_expected(version),
            f"{_ROW}{member.address}",
            row_etag,
            _stored(member, version.number + 1),
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


def _expected(version: TableVersion) -> tuple[str, str]:
    return ("", "") if version == FRESH else (version.incarnation, str(version.number))


def _stored(member: Member, etag: int) -> str:
    json = msgspec.Raw(member_to_json(member).encode())
    return msgspec.json.encode(_Stored(str(etag), member.status, time_to_text(member.started), json)).decode()


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
