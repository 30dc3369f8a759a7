"""The way to one Redis or Valkey: connections that reach a master only, bounded operations, changes that last.

Every new connection asks for the role of the server (rule R10), so that after a failover nothing is read from or
written to what has become a replica; behind Sentinels, every new connection also asks them for the master again. A
change that must last is waited for until replicas and disk have it (rule R2).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import redis.asyncio
import redis.asyncio.sentinel
import redis.exceptions
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from grange.aio.awake import AwakeTimeout
from grange.databases.redis_address import sentinel_address
from grange.databases.redis_facts import Facts, keeps_a_log, parsed_info, replicas, waits_for_disk
from grange.databases.resets import is_reset
from grange.errors import ConfigurationError, MembershipUnavailable

OPERATION_TIMEOUT = 2.0
"""Seconds that one operation may take, connecting included."""

DURABLE_TIMEOUT = 4.0
"""Seconds for a change that must last: the operation, then its way to replicas and disk."""

WAIT_MILLISECONDS = 1000
"""How long replicas get to confirm; a healthy one takes a millisecond."""

DISK_MILLISECONDS = 1500
"""How long the append-only file gets to be on the disk: with `appendfsync everysec` a second may pass."""

SENTINEL_TIMEOUT = 0.5
"""Seconds for one Sentinel, so that one that is down leaves time to ask the next."""


class RedisLink:
    """A client of one Redis, and the rules by which it is used. `client` never repeats a command by itself."""

    def __init__(self, client: redis.asyncio.Redis, place: str) -> None:
        self.client = client
        self.place = place

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, any_role: bool = False) -> AsyncGenerator[RedisLink, None]:
        """By `redis://`, `rediss://` or `redis+sentinel://`; connects when it is needed first.

        `any_role` is for looking at a replica as well. Raises ConfigurationError for a malformed URL.
        """
        if url.startswith("redis+sentinel://"):
            async with _sentinel_link(url) as link:
                yield link
            return
        try:
            client = redis.asyncio.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
                url, **_options(any_role)
            )
        except ValueError as error:
            raise ConfigurationError(f"not a Redis membership URL: {error}; write 'redis://host:port/0'") from error
        connection = client.connection_pool.connection_kwargs
        try:
            yield cls(client, f"{connection.get('host', 'localhost')}:{connection.get('port', 6379)}")
        finally:
            await client.aclose()

    @asynccontextmanager
    async def operation(self, seconds: float = OPERATION_TIMEOUT) -> AsyncGenerator[None, None]:
        """Bounds what is done inside, and turns what the driver raises into MembershipUnavailable."""
        try:
            async with AwakeTimeout(seconds):
                yield
        except redis.exceptions.ReadOnlyError as error:
            # A master that became a replica: its connections are of no use, and the next ones look for the master.
            await self.client.connection_pool.disconnect(inuse_connections=False)
            raise MembershipUnavailable(f"Redis at {self.place} has become a replica: {error}") from error
        except RuntimeError as error:
            if not is_reset(error):
                raise
            raise MembershipUnavailable(f"the connection to Redis at {self.place} was reset: {error}") from error
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError, TimeoutError) as error:
            # A time-out has no words of its own.
            reason = f": {error}" if str(error) else ""
            raise MembershipUnavailable(
                f"the membership table in Redis at {self.place} did not answer within {seconds} s{reason}"
            ) from error
        except redis.exceptions.RedisError as error:
            raise MembershipUnavailable(f"Redis at {self.place} refused a membership operation: {error}") from error

    async def change(self, script: str, keys: Sequence[str], arguments: Sequence[str], *, lasting: bool) -> bool:
        """Run a script that changes the table; returns its answer.

        A `lasting` change has reached replicas and disk, where there are any. Raises MembershipUnavailable when it has
        not within the time: it was made, and nobody knows whether it will survive, so read again.
        """
        async with self.operation(DURABLE_TIMEOUT if lasting else OPERATION_TIMEOUT), self.connection() as connection:
            done = bool(await ask(connection, "EVAL", script, len(keys), *keys, *arguments))
            if done and lasting:
                await self._until_it_lasts(connection)  # over the same connection: WAIT counts its own writes
            return done

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[AbstractConnection, None]:
        """One connection for several questions. What is interrupted leaves no answer behind for the next user of it."""
        pool = self.client.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            yield connection
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    async def _until_it_lasts(self, connection: AbstractConnection) -> None:
        facts = await permitted_info(connection)
        count = replicas(facts)
        if count:
            wanted = (count + 1) // 2  # with the master a majority
            confirmed = await ask(connection, "WAIT", wanted, WAIT_MILLISECONDS)
            if confirmed < wanted:
                raise MembershipUnavailable(
                    f"{confirmed} of {count} replicas of Redis at {self.place} have confirmed a change, not {wanted}: "
                    f"whether it lasts is unknown"
                )
        if keeps_a_log(facts) and waits_for_disk(await permitted_config(connection, "appendfsync")):
            written, _ = await ask(connection, "WAITAOF", 1, 0, DISK_MILLISECONDS)
            if not written:
                raise MembershipUnavailable(
                    f"Redis at {self.place} has not written a change to its disk: whether it lasts is unknown"
                )


async def ask(connection: AbstractConnection, *command: str | int) -> Any:
    """One command and its answer. Raises the driver's errors."""
    await connection.send_command(*command)
    return cast(Any, await connection.read_response())


async def permitted_info(connection: AbstractConnection) -> Facts:
    """What INFO says; nothing where this user may not ask."""
    try:
        return parsed_info(await ask(connection, "INFO"))
    except redis.exceptions.ResponseError:
        return {}


async def permitted_config(connection: AbstractConnection, name: str) -> str | None:
    """One configuration value; None where this user may not ask, as with most hosted Redis."""
    try:
        found = await ask(connection, "CONFIG", "GET", name)
    except redis.exceptions.ResponseError:
        return None
    values = list(found.values()) if hasattr(found, "values") else list(found[1::2])  # RESP3 gives a map, RESP2 a list
    return str(values[0]) if values else None


async def masters_only(connection: Any) -> None:
    """What is done first on each new connection: the usual greeting, and a look at the server's role.

    Raises the driver's ConnectionError on a replica. A user who may not ask is let through.
    """
    await connection.on_connect()
    await connection.send_command("ROLE")
    try:
        role = (await connection.read_response())[0]
    except redis.exceptions.ResponseError:
        return
    if role not in ("master", b"master"):
        raise redis.exceptions.ConnectionError(
            "it is a replica, which may be behind and takes no writes; name the master, or use redis+sentinel://"
        )


class _Sentinel(redis.asyncio.Redis):
    """One Sentinel. Its time is bounded here and not by `socket_timeout`, which is an `asyncio.wait_for` in the driver:
    that of Python 3.11 loses a cancellation that comes as the command is sent, and so the deadline of an operation.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            async with asyncio.timeout(SENTINEL_TIMEOUT):
                return cast(Any, await super().execute_command(*args, **options))  # type: ignore[no-untyped-call]
        except TimeoutError as error:
            raise redis.exceptions.TimeoutError(f"no answer within {SENTINEL_TIMEOUT} s") from error


@asynccontextmanager
async def _sentinel_link(url: str) -> AsyncGenerator[RedisLink, None]:
    address = sentinel_address(url)
    sentinel = redis.asyncio.sentinel.Sentinel([])  # type: ignore[no-untyped-call]
    sentinel.sentinels = [  # pyright: ignore[reportAttributeAccessIssue]
        _Sentinel(
            host=host,
            port=port,
            username=address.sentinel_username,
            password=address.sentinel_password,
            socket_timeout=None,
            socket_connect_timeout=SENTINEL_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        for host, port in address.hosts
    ]
    client: redis.asyncio.Redis = sentinel.master_for(  # pyright: ignore[reportUnknownMemberType]
        address.service, db=address.database, username=address.username, password=address.password, **_options()
    )
    try:
        yield RedisLink(client, address.place)
    finally:
        await client.aclose()
        for each in sentinel.sentinels:
            await each.aclose()


def _options(any_role: bool = False) -> dict[str, Any]:
    return {
        "decode_responses": True,
        "socket_timeout": None,  # `operation` bounds the time, and sees when it was this process that stood still
        "socket_connect_timeout": OPERATION_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "redis_connect_func": None if any_role else masters_only,
    }
