"""Clients of Redis: limited pools of connections to a master only, at one address or behind Sentinels.

Used by `redis.py`. Every new connection asks for the role of the server (rule R10), and takes the credentials that
their source has at that time; behind Sentinels it also asks one of them for the master.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast
from weakref import WeakSet

import msgspec
import redis.asyncio
import redis.asyncio.sentinel
import redis.credentials
import redis.exceptions
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from grange.databases.credentials import PASSWORD_FILE, CredentialSource
from grange.databases.errors import DatabaseError
from grange.databases.redis_address import COPIES, copies_of, credentials_of_sentinels, sentinel_address
from grange.databases.redis_address import FORM as SENTINEL_FORM
from grange.databases.redis_refusals import IS_SENTINEL, is_login_refusal
from grange.databases.urls import Credentials, malformed, parse_url, without_options

FORM = "redis://[[user]:password@]host[:port][/database]"

SENTINEL_SCHEME = "redis+sentinel"

COPIES_BEHIND_SENTINELS = 1
"""Replicas that confirm a change, unless the URL says otherwise. Without any, each failover loses what was acknowledged
just before it; also a planned one, during which the earlier master still takes writes for a second."""

OPERATION_TIMEOUT = 2.0
"""Seconds that one operation may take, connecting included."""

SENTINEL_TIMEOUT = 0.5
"""Seconds for one Sentinel; short, so that there is time to ask the next one when one is down."""


class RedisOptions(msgspec.Struct, frozen=True):
    """How a `RedisLink` connects. The defaults are those of the membership table."""

    connections: int = 16
    """Most connections at a time. Operations wait for a free one."""
    connect_timeout: float = OPERATION_TIMEOUT
    """Seconds to open a connection."""
    decode: bool = True
    """Whether answers are text; False: bytes."""
    any_role: bool = False
    """Whether a replica is connected to as well, to check it."""


class ReplaceablePool(redis.asyncio.BlockingConnectionPool):
    """A pool whose connections can be replaced while some of them are in use."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._retired: WeakSet[AbstractConnection] = WeakSet()
        cast(Any, super()).__init__(*args, **options)

    async def retire(self) -> None:
        """Close the idle connections now, and each of the others when its user is done with it."""
        self._retired.update(self._in_use_connections)
        # Taken out at once: `disconnect(inuse_connections=False)` closes those, too, that are taken meanwhile.
        idle = list(self._available_connections)
        self._available_connections.clear()
        for connection in idle:
            await connection.disconnect(nowait=True)

    async def prove(self) -> None:
        """Open a connection beside those of the pool, and close it. Raises the driver's errors."""
        connection: Any = cast(Any, self).make_connection()
        try:
            await connection.connect()
        finally:
            await connection.disconnect(nowait=True)

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back."""
        try:
            if connection in self._retired:
                self._retired.discard(connection)
                await connection.disconnect(nowait=True)
        finally:
            await super().release(connection)


class SentinelPool(redis.asyncio.sentinel.SentinelConnectionPool, ReplaceablePool):
    """Connections to the master that the Sentinels name. When they name another, all earlier ones are replaced."""

    async def get_master_address(self) -> Any:
        """Ask for the master."""
        before = cast(Any, self).master_address
        found = await cast(Any, super()).get_master_address()
        if before not in (None, found):
            await self.retire()
        return found


class RedisClient(msgspec.Struct, frozen=True):
    """A client with its pool, the place of the server for messages, and where its credentials come from.

    `copies` is the number of replicas that must have a change of state before it counts as made.
    """

    client: redis.asyncio.Redis
    pool: ReplaceablePool
    place: str
    source: CredentialSource
    copies: int


@asynccontextmanager
async def open_client(url: str, options: RedisOptions) -> AsyncGenerator[RedisClient]:
    """A client by `redis://`, `rediss://` or `redis+sentinel://`, closed at exit. Connects when first needed.

    Raises ConfigurationError for a malformed URL, and for a file of credentials that cannot be read.
    """
    is_sentinel = url.startswith(f"{SENTINEL_SCHEME}://")
    form = SENTINEL_FORM if is_sentinel else FORM
    copies = copies_of(parse_url(url, form), form, COPIES_BEHIND_SENTINELS if is_sentinel else 0)
    url = without_options(url, {COPIES})
    source = CredentialSource(url, form)
    if is_sentinel:
        async with _behind_sentinels(url, source, copies, options) as opened:
            yield opened
        return
    opened = _at_one_address(source, copies, options)
    try:
        yield opened
    finally:
        await opened.client.aclose()
        await opened.pool.disconnect()


def _at_one_address(source: CredentialSource, copies: int, options: RedisOptions) -> RedisClient:
    parsed = parse_url(source.url, FORM)
    if not re.fullmatch(r"/?\d*/?", parsed.path):  # the driver would use database 0
        raise malformed(FORM, "the database of a redis:// URL is a number")
    try:
        # The driver's `from_url` is not fully annotated.
        pool: ReplaceablePool = cast(Any, ReplaceablePool).from_url(
            source.url,
            **_pool_options(options),
            **_connection_options(options, FirstSteps(source, f"Redis at {parsed.server('localhost')}")),
            **_credentials(source),
        )
    except (ValueError, TypeError):
        # The driver's message is not shown: it may hold the password.
        raise malformed(FORM, "the driver refuses an option of the redis:// URL") from None
    return RedisClient(redis.asyncio.Redis(connection_pool=pool), pool, parsed.server("localhost"), source, copies)


class _Sentinel(redis.asyncio.Redis):
    """One Sentinel, with a time-out of its own in place of the driver's `socket_timeout`.

    The driver implements `socket_timeout` by `asyncio.wait_for`. In Python 3.11 that may lose a cancellation that comes
    while the command is sent, and so the deadline of an operation.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            async with asyncio.timeout(SENTINEL_TIMEOUT):
                return cast(Any, await super().execute_command(*args, **options))  # type: ignore[no-untyped-call]
        except TimeoutError as error:
            raise redis.exceptions.TimeoutError(f"no answer within {SENTINEL_TIMEOUT} s") from error


@asynccontextmanager
async def _behind_sentinels(
    url: str, source: CredentialSource, copies: int, options: RedisOptions
) -> AsyncGenerator[RedisClient]:
    address = sentinel_address(source.url)
    # The file of a password is that of Redis, not that of the Sentinels.
    of_sentinels = CredentialSource(without_options(url, {PASSWORD_FILE}), SENTINEL_FORM, credentials_of_sentinels)
    sentinel = redis.asyncio.sentinel.Sentinel([])  # type: ignore[no-untyped-call]
    sentinel.sentinels = [  # pyright: ignore[reportAttributeAccessIssue]
        _Sentinel(
            host=host,
            port=port,
            socket_timeout=None,
            socket_connect_timeout=SENTINEL_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=FirstSteps(of_sentinels, f"the Sentinel at {host}:{port}").log_in,
            **_credentials(of_sentinels),
        )
        for host, port in address.hosts
    ]
    pool: SentinelPool = cast(Any, SentinelPool)(
        address.service,
        sentinel,
        db=address.database,
        **_pool_options(options),
        **_connection_options(options, FirstSteps(source, f"Redis at {address.place}")),
        **_credentials(source),
    )
    client = redis.asyncio.Redis(connection_pool=pool)
    try:
        yield RedisClient(client, pool, address.place, source, copies)
    finally:
        await client.aclose()
        await pool.disconnect()
        for each in sentinel.sentinels:
            await each.aclose()


def _pool_options(options: RedisOptions) -> dict[str, Any]:
    # No time-out: `RedisLink.operation` bounds the wait for a free connection.
    return {"max_connections": options.connections, "timeout": None}


def _connection_options(options: RedisOptions, steps: FirstSteps) -> dict[str, Any]:
    return {
        "decode_responses": options.decode,
        "socket_timeout": None,  # `operation` bounds the time, and does not count the time of a stopped process
        "socket_connect_timeout": options.connect_timeout,
        "retry": Retry(NoBackoff(), 0),  # a command that was sent may have run, so the driver never sends it twice
        "redis_connect_func": steps.log_in if options.any_role else steps.log_in_at_a_master,
    }


def _credentials(source: CredentialSource) -> dict[str, Any]:
    """The driver's arguments, if they are constant. Those that change are given to each connection: `FirstSteps`."""
    if source.changes:
        return {}
    return {"username": source.last.username, "password": source.last.password}


def _arguments(found: Credentials) -> tuple[str, ...]:
    if found.username:
        return found.username, found.password or ""
    return (found.password,) if found.password else ()


class FirstSteps:
    """The first steps on each new connection: the driver's handshake with the login, then a check of the role.

    `name` is that of the store in messages.
    """

    def __init__(self, source: CredentialSource, name: str) -> None:
        self._source = source
        self._name = name

    async def log_in_at_a_master(self, connection: Any) -> None:
        """Log in, and raise the driver's ConnectionError on a replica or a Sentinel.

        A user without the right to ROLE passes.
        """
        await self.log_in(connection)
        await connection.send_command("ROLE")
        try:
            role = (await connection.read_response())[0]
        except redis.exceptions.ResponseError:
            return
        if role in ("sentinel", b"sentinel"):
            raise redis.exceptions.ConnectionError(IS_SENTINEL)
        if role not in ("master", b"master"):
            raise redis.exceptions.ConnectionError(
                "it is a replica, which may be behind and takes no writes; name the master, or use redis+sentinel://"
            )

    async def log_in(self, connection: Any) -> None:
        """The driver's handshake, with other credentials if the server refuses the login: see `CredentialSource`.

        Raises the driver's errors only, which close the connection: one that is not logged in must not be used.
        """
        if not self._source.changes:
            await connection.on_connect()
            return

        async def attempt(found: Credentials) -> None:
            await _open_again(connection)
            connection.credential_provider = _Given(found)
            await connection.on_connect()

        try:
            await self._source.log_in(self._name, attempt, _is_login_refusal)
        except DatabaseError as error:
            raise redis.exceptions.ConnectionError(str(error)) from error


async def _open_again(connection: Any) -> None:
    """Open a connection that the driver has closed, as it does after a refusal. By itself it would begin all anew."""
    if not connection.is_connected:
        try:
            await connection._connect()
        except OSError as error:
            raise redis.exceptions.ConnectionError(str(error)) from error


def _is_login_refusal(error: Exception) -> bool:
    return isinstance(error, redis.exceptions.RedisError) and is_login_refusal(str(error))


class _Given(redis.credentials.CredentialProvider):
    """The credentials of one connection."""

    def __init__(self, found: Credentials) -> None:
        self._found = found

    async def get_credentials_async(self) -> Any:
        """The arguments of AUTH; none: the connection does not log in."""
        return _arguments(self._found)
