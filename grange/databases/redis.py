"""Access to Redis or Valkey: connections to a master only, bounded operations, durable changes, and its safety check.

Every new connection asks for the role of the server (rule R10). So after a failover nothing is read from or written to
a server that became a replica. Behind Sentinels, every new connection also asks a Sentinel for the master again. A
durable change ends when replicas and disk have it (rule R2).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import msgspec
import redis.asyncio
import redis.asyncio.sentinel
import redis.exceptions
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from grange.aio.awake import AwakeTimeout
from grange.databases.errors import (
    AnswerLost,
    DatabaseError,
    DatabaseMisconfigured,
    DatabaseUnavailable,
    at_start,
    is_reset,
)
from grange.databases.findings import StoreFinding
from grange.databases.judges import judge_redis
from grange.databases.redis_address import sentinel_address
from grange.databases.redis_facts import (
    NO_CLUSTER,
    Facts,
    in_cluster_mode,
    keeps_a_log,
    parsed_info,
    replicas,
    waits_for_disk,
)
from grange.databases.redis_refusals import IS_SENTINEL, NO_TLS, ONLY_TLS, refusal, refusals
from grange.databases.tls_probe import speaks_plain, speaks_tls
from grange.databases.urls import malformed, parse_url

FORM = "redis://[[user]:password@]host[:port][/database]"

OPERATION_TIMEOUT = 2.0
"""Seconds that one operation may take, connecting included."""

DURABLE_TIMEOUT = 4.0
"""Seconds for a durable change: the operation, then its way to replicas and disk."""

WAIT_MILLISECONDS = 1000
"""Milliseconds for replicas to confirm a change; a healthy replica takes about 1 ms."""

DISK_MILLISECONDS = 1500
"""Milliseconds for the append-only file to reach the disk: with `appendfsync everysec` a second may pass."""

SENTINEL_TIMEOUT = 0.5
"""Seconds for one Sentinel; short, so that there is time to ask the next one when one is down."""


# The server answered that it cannot do this at the moment.
_UNAVAILABLE = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.TryAgainError,
)

# The connection ended, or none was made. The outcome of a change that was under way is unknown.
_LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


class RedisOptions(msgspec.Struct, frozen=True):
    """How a `RedisLink` connects. The defaults are those of the membership table."""

    connections: int = 16
    """Most connections at a time. Operations wait for a free one; behind Sentinels there is no limit."""
    connect_timeout: float = OPERATION_TIMEOUT
    """Seconds to open a connection."""
    decode: bool = True
    """Whether answers are text; False: bytes."""
    any_role: bool = False
    """Whether a replica is connected to as well, to check it."""


DEFAULT_OPTIONS = RedisOptions()


class RedisLink:
    """A client of one Redis, with bounded operations and typed errors. `client` never repeats a command."""

    def __init__(self, client: redis.asyncio.Redis, place: str = "") -> None:
        self.client = client
        self._name = f"Redis at {place}" if place else "Redis"

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, options: RedisOptions = DEFAULT_OPTIONS) -> AsyncGenerator[RedisLink]:
        """A client by `redis://`, `rediss://` or `redis+sentinel://`, closed at exit. Connects when first needed.

        Raises ConfigurationError for a malformed URL.
        """
        if url.startswith("redis+sentinel://"):
            async with _sentinel_link(url, options) as link:
                yield link
            return
        client, place = _client(url, options)
        try:
            yield cls(client, place)
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()

    async def connect(self, seconds: float) -> None:
        """Connect once.

        Raises ConfigurationError with the remedy when a setting is wrong (login, right, cluster mode), and
        DatabaseError.
        """
        with at_start():
            try:
                await self._first_commands(seconds)
            except AnswerLost as error:
                if words := await self._wrong_scheme():
                    raise DatabaseMisconfigured(f"{self._name} is not available: {words}") from error
                raise

    async def _first_commands(self, seconds: float) -> None:
        async with self.operation(seconds), self.connection() as connection:
            await ask(connection, "PING")
            if in_cluster_mode(await permitted_info(connection)):
                raise DatabaseMisconfigured(f"{self._name} is a node of a Redis Cluster; {NO_CLUSTER}")

    async def _wrong_scheme(self) -> str:
        """The remedy, if the URL demands TLS of a port without it, or the other way round; else nothing."""
        pool = self.client.connection_pool
        if isinstance(pool, redis.asyncio.sentinel.SentinelConnectionPool):
            return ""
        host, port = pool.connection_kwargs.get("host", "localhost"), pool.connection_kwargs.get("port", 6379)
        if issubclass(pool.connection_class, redis.asyncio.SSLConnection):
            return NO_TLS if await speaks_plain(host, port) else ""
        return ONLY_TLS if not await speaks_plain(host, port) and await speaks_tls(host, port) else ""

    async def require(self, commands: Sequence[Sequence[str | int]]) -> None:
        """Send commands that change nothing of value, and raise DatabaseMisconfigured with all that are not permitted.

        The error inside a script does not name its command, so a missing right is found here.
        """
        async with self.operation():
            pipeline = self.client.pipeline(transaction=False)
            for command in commands:
                cast(Any, pipeline).execute_command(*command)
            answers = await pipeline.execute(raise_on_error=False)
        errors = [str(each) for each in answers if isinstance(each, redis.exceptions.RedisError)]
        if words := refusals(errors):
            raise DatabaseMisconfigured(f"{self._name}: {words}")

    @asynccontextmanager
    async def operation(self, seconds: float = OPERATION_TIMEOUT) -> AsyncGenerator[None]:
        """Bound the time of an operation, and turn what the driver raises into DatabaseError."""
        with self.errors(seconds):
            try:
                async with AwakeTimeout(seconds):
                    yield
            except redis.exceptions.ReadOnlyError:
                await self.drop_idle_connections()
                raise

    async def drop_idle_connections(self) -> None:
        """Close the connections to a master that became a replica: new connections look for the master (rule R10)."""
        await self.client.connection_pool.disconnect(inuse_connections=False)

    @contextmanager
    def errors(self, seconds: float | None = None) -> Generator[None]:
        """Turn the driver's errors into DatabaseError. `seconds` bounded the operation, for the message."""
        try:
            yield
        except TimeoutError as error:
            limit = "in time" if seconds is None else f"within {seconds} s"
            raise AnswerLost(f"{self._name} did not answer {limit}") from error
        except RuntimeError as error:
            if not is_reset(error):
                raise
            raise AnswerLost(f"{self._name} is not available: the connection was reset ({error})") from error
        except (redis.exceptions.RedisError, OSError) as error:
            raise self.error(error) from error

    def error(self, error: Exception) -> DatabaseError:
        """The DatabaseError for an error of the driver, also for an error inside the answer of a pipeline."""
        reason = str(error) or type(error).__name__
        words = refusal(reason)
        if words is not None:
            return DatabaseMisconfigured(f"{self._name}: {words}")
        if isinstance(error, redis.exceptions.ReadOnlyError):
            return DatabaseUnavailable(f"{self._name} is not available, it has become a replica: {reason}")
        if isinstance(error, _UNAVAILABLE):
            return DatabaseUnavailable(f"{self._name} refused: {reason}")
        if isinstance(error, _LOST):
            return AnswerLost(f"{self._name} is not available: {reason}")
        return DatabaseError(f"{self._name} refused: {reason}")

    async def change(self, script: str, keys: Sequence[str], arguments: Sequence[str], *, lasting: bool) -> bool:
        """Run a script that may change something. Returns whether it did.

        A `lasting` change returns once it has reached replicas and append-only file, if the server has them. Raises
        AnswerLost if that takes too long: the change was made, but may not survive a failure. Read again then.
        """
        async with self.operation(DURABLE_TIMEOUT if lasting else OPERATION_TIMEOUT), self.connection() as connection:
            done = bool(await ask(connection, "EVAL", script, len(keys), *keys, *arguments))
            if done and lasting:
                await self._until_it_lasts(connection)  # over the same connection: WAIT counts its own writes
            return done

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[AbstractConnection, None]:
        """One connection for several commands. An interrupted use closes it: the next user must not get its answers."""
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
                raise AnswerLost(
                    f"{confirmed} of {count} replicas of {self._name} have confirmed a change, not {wanted}: "
                    f"whether it lasts is unknown"
                )
        if keeps_a_log(facts) and waits_for_disk(await permitted_config(connection, "appendfsync")):
            written, _ = await ask(connection, "WAITAOF", 1, 0, DISK_MILLISECONDS)
            if not written:
                raise AnswerLost(f"{self._name} has not written a change to its disk: whether it lasts is unknown")


async def ask(connection: AbstractConnection, *command: str | int) -> Any:
    """One command and its answer. Raises the driver's errors."""
    await connection.send_command(*command)
    return cast(Any, await connection.read_response())


async def permitted_info(connection: AbstractConnection) -> Facts:
    """The facts of INFO; empty where this user has no right to it."""
    try:
        answer = await ask(connection, "INFO")
        return parsed_info(answer if isinstance(answer, str) else answer.decode())
    except redis.exceptions.ResponseError:
        return {}


async def permitted_config(connection: AbstractConnection, name: str) -> str | None:
    """One configuration value; None where this user has no right to it, as with most hosted Redis."""
    try:
        answer = await ask(connection, "CONFIG", "GET", name)
    except redis.exceptions.ResponseError:
        return None
    values = list(answer.values()) if hasattr(answer, "values") else list(answer[1::2])  # RESP3: a map; RESP2: a list
    return str(values[0]) if values else None


async def check_redis(url: str) -> list[StoreFinding]:
    """See `StoreCheck`. Opens a connection of its own."""
    options = RedisOptions(any_role=True)
    async with RedisLink.open(url, options) as link, link.operation(), link.connection() as connection:
        return judge_redis(await permitted_info(connection), await permitted_config(connection, "appendfsync"))


async def masters_only(connection: Any) -> None:
    """The first steps on each new connection: the driver's handshake, then a check of the server's role.

    Raises the driver's ConnectionError on a replica or a Sentinel. A user without the right to ROLE passes.
    """
    await connection.on_connect()
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


def _client(url: str, options: RedisOptions) -> tuple[redis.asyncio.Redis, str]:
    """A client and, for messages, its place."""
    parsed = parse_url(url, FORM)
    if not re.fullmatch(r"/?\d*/?", parsed.path):  # the driver would use database 0
        raise malformed(FORM, "the database of a redis:// URL is a number")
    try:
        # The driver's `from_url` is not fully annotated.
        pool = cast(Any, redis.asyncio.BlockingConnectionPool).from_url(
            url,
            max_connections=options.connections,
            timeout=None,  # `operation` bounds the wait for a free connection
            **_client_options(options),
        )
    except (ValueError, TypeError):
        # The driver's message is not shown: it may hold the password.
        raise malformed(FORM, "the driver refuses an option of the redis:// URL") from None
    return redis.asyncio.Redis(connection_pool=pool), parsed.server("localhost")


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
async def _sentinel_link(url: str, options: RedisOptions) -> AsyncGenerator[RedisLink]:
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
        address.service,
        db=address.database,
        username=address.username,
        password=address.password,
        **_client_options(options),
    )
    try:
        yield RedisLink(client, address.place)
    finally:
        await client.aclose()
        for each in sentinel.sentinels:
            await each.aclose()


def _client_options(options: RedisOptions) -> dict[str, Any]:
    return {
        "decode_responses": options.decode,
        "socket_timeout": None,  # `operation` bounds the time, and does not count the time of a stopped process
        "socket_connect_timeout": options.connect_timeout,
        "retry": Retry(NoBackoff(), 0),  # a command that was sent may have run, so the driver never sends it twice
        "redis_connect_func": None if options.any_role else masters_only,
    }
