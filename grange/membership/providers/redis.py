"""The membership table in Redis or Valkey: the default of a real cluster.

One hash per cluster holds `incarnation`, `version` and, per silo, a field `silo:<address>` with its row as
JSON; every change is one Lua script over it (a compare-and-swap). A second hash holds the `alive` times, so
that an update of such a time never disturbs a change. Both keys carry the cluster's name as hash tag and so live
in one slot of a Redis Cluster.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from grange.databases.errors import at_start
from grange.databases.findings import StoreFinding
from grange.databases.redis import RedisLink
from grange.databases.redis_clients import OPERATION_TIMEOUT
from grange.errors import MembershipError
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.provider import FRESH, Row, Table, TableVersion, table_version
from grange.membership.providers.redis_scripts import ALIVE, CHANGE, CLEANUP, REBUILD
from grange.membership.providers.rows import (
    member_from_json,
    member_to_json,
    settings_at_start,
    table_errors,
    time_from_text,
    time_to_text,
)
from grange.membership.providers.trial import try_table
from grange.proto.ids import SiloAddress

_ROW = "silo:"


class _Stored(msgspec.Struct, frozen=True):
    """A row's field: the member as JSON, and beside it the parts that the scripts compare."""

    etag: str
    status: str
    started: str
    member: msgspec.Raw


class RedisMembershipTable:
    """A cluster's table in one Redis. The driver never repeats a command: a change without an answer is unknown."""

    def __init__(self, link: RedisLink, cluster: str) -> None:
        self._link = link
        self._keys = [f"grange:{{{cluster}}}:membership", f"grange:{{{cluster}}}:alive"]
        self._alive = link.client.register_script(ALIVE)
        self._cleanup = link.client.register_script(CLEANUP)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, cluster: str) -> AsyncGenerator[RedisMembershipTable, None]:
        """See TableFactory. The URL is `redis://[[user]:password@]host[:port][/database]`.

        `rediss://` uses TLS. `databases/redis_address.py` describes `redis+sentinel://`.
        """
        async with RedisLink.open(url) as link:
            table = cls(link, cluster)
            with table_errors():
                await link.connect(OPERATION_TIMEOUT)
            with settings_at_start():
                await table.read()
            yield table

    @classmethod
    async def try_out(cls, url: str, cluster: str) -> list[StoreFinding]:
        """See TriedTableFactory."""
        async with RedisLink.open(url) as link:
            table = cls(link, cluster)
            keys = [f"{key}:trial-{secrets.token_hex(8)}" for key in table._keys]
            with table_errors(), at_start():
                await link.connect(OPERATION_TIMEOUT)
                await link.require(_commands(*keys))
            with settings_at_start():
                await table.read()
            table._keys = keys
            try:
                return await try_table(table)
            finally:
                await table.delete()

    async def read(self) -> Table:
        """See MembershipTable."""
        async with self._operation():
            pipeline = self._link.client.pipeline(transaction=True)
            pipeline.hgetall(self._keys[0])
            pipeline.hgetall(self._keys[1])
            fields, alive = await pipeline.execute()
        rows = (_row(text, alive.get(field)) for field, text in sorted(fields.items()) if field.startswith(_ROW))
        return Table(_version(fields.get("incarnation"), fields.get("version")), tuple(rows))

    async def read_row(self, address: SiloAddress) -> tuple[Row | None, TableVersion]:
        """See MembershipTable."""
        field = f"{_ROW}{address}"
        async with self._operation():
            pipeline = self._link.client.pipeline(transaction=True)
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
        return await self._change(REBUILD, arguments, lasting=True)

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
            await self._link.client.delete(*self._keys)

    async def _write(self, member: Member, row_etag: str, version: TableVersion) -> bool:
        arguments = [
            *_expected(version),
            f"{_ROW}{member.address}",
            row_etag,
            _stored(member, version.number + 1),
            time_to_text(member.alive),
            secrets.token_hex(16),
        ]
        joined = member.status is SiloStatus.ACTIVE and not member.votes
        lasting = joined or member.status is SiloStatus.DEAD
        return await self._change(CHANGE, arguments, lasting=lasting)

    async def _change(self, script: str, arguments: Sequence[str], *, lasting: bool) -> bool:
        with table_errors():
            return await self._link.change(script, self._keys, arguments, lasting=lasting)

    @asynccontextmanager
    async def _operation(self) -> AsyncGenerator[None, None]:
        with table_errors():
            async with self._link.operation():
                yield


def _commands(table: str, alive: str) -> list[tuple[str | int, ...]]:
    """Every command that the table needs, in a form that changes nothing."""
    return [
        *(("HGETALL", table), ("HMGET", table, "x"), ("HGET", alive, "x"), ("HEXISTS", table, "x")),
        *(("HDEL", table, "x"), ("DEL", table, alive)),
        *(("HSET", table, "x", "1", "a field without a value"), ("HINCRBY", table, "x", "no number")),
        *(("EVAL", "return 1", 0), ("SCRIPT", "LOAD", "return 1"), ("EVALSHA", "no-script", 0), ("MULTI",), ("EXEC",)),
        *(("WAIT", 0, 1), ("WAITAOF", 0, 0, 1)),
    ]


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
    return Row(member_from_json(stored.member, time_from_text(alive or stored.started)), stored.etag)
