"""Access to Redis or Valkey: connections to a master only, bounded operations, durable changes, and its safety check.

`redis_clients.py` opens the connections. Each asks for the role of the server (rule R10), so after a failover nothing
is read from or written to a server that became a replica. A durable change ends when replicas and disk have it (rule
R2).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import redis.asyncio
import redis.asyncio.sentinel
import redis.exceptions
from redis.asyncio.connection import AbstractConnection

from grange.aio.awake import AwakeTimeout
from grange.databases.credentials import replacing
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
from grange.databases.redis_address import COPIES
from grange.databases.redis_clients import OPERATION_TIMEOUT, RedisOptions, ReplaceablePool, open_client
from grange.databases.redis_facts import (
    NO_CLUSTER,
    Facts,
    in_cluster_mode,
    keeps_a_log,
    parsed_info,
    replicas,
    waits_for_disk,
)
from grange.databases.redis_refusals import NO_TLS, ONLY_TLS, refusal, refusals
from grange.databases.tls_probe import speaks_plain, speaks_tls

DURABLE_TIMEOUT = 4.0
"""Seconds for a durable change: the operation, then its way to replicas and disk."""

WAIT_MILLISECONDS = 1000
"""Milliseconds for replicas to confirm a change; a healthy replica takes about 1 ms."""

DISK_MILLISECONDS = 1500
"""Milliseconds for the append-only file to reach the disk: with `appendfsync everysec` a second may pass."""

CONFIRMED = "grange:confirmed"
"""The key that is written to find out whether replicas have all that was written before."""

MORE_REPLICAS = f"see that replicas are connected, or name in the URL how many to wait for, ?{COPIES}=0 for none"

# The server answered that it cannot do this at the moment.
_UNAVAILABLE = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.TryAgainError,
)

# The connection ended, or none was made. The outcome of a change that was under way is unknown.
_LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)

DEFAULT_OPTIONS = RedisOptions()


class RedisLink:
    """A client of one Redis, with bounded operations and typed errors. `client` never repeats a command."""

    def __init__(self, client: redis.asyncio.Redis, place: str = "", copies: int = 0) -> None:
        self.client = client
        self.copies = copies
        """The number of replicas that must have a change before `send` returns."""
        self._name = f"Redis at {place}" if place else "Redis"

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, options: RedisOptions = DEFAULT_OPTIONS) -> AsyncGenerator[RedisLink]:
        """A link by the URL, closed at exit: see `open_client`. Connects when first needed."""
        async with open_client(url, options) as opened:
            link = cls(opened.client, opened.place, opened.copies)

            async def prove() -> None:
                async with link.operation():
                    await opened.pool.prove()

            async with replacing(opened.source, link._name, prove, opened.pool.retire):
                yield link

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
                await self.drop_connections()
                raise

    async def drop_connections(self) -> None:
        """End the connections to a master that became a replica: new connections look for the master (rule R10)."""
        pool = self.client.connection_pool
        await (pool.retire() if isinstance(pool, ReplaceablePool) else pool.disconnect(inuse_connections=False))

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
        if isinstance(error.__cause__, DatabaseError):  # of the credentials
            return error.__cause__
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

    async def send(self, connection: AbstractConnection, changes: Sequence[Sequence[Any]]) -> list[Any]:
        """Send changes together and return their answers, also the errors among them.

        With `copies`, it returns once so many replicas have all that the master had by then: what an earlier call
        changed, too, so a change that is sent again is confirmed although it has been made before. Raises AnswerLost if
        they do not confirm in time: the changes were made, and a failover may lose them.
        """
        if not self.copies:
            return await ask_all(connection, changes)
        # WAIT waits for the last change that its own connection has made, so there must be one.
        confirming = ("SET", CONFIRMED, 1), ("WAIT", self.copies, WAIT_MILLISECONDS)
        *answers, marked, confirmed = await ask_all(connection, [*changes, *confirming])
        if isinstance(marked, Exception) and all(isinstance(answer, Exception) for answer in answers):
            return answers  # nothing was changed, and each answer says why
        faults = [str(each) for each in (marked, confirmed) if isinstance(each, Exception)]
        if faults or confirmed < self.copies:
            await self.drop_connections()  # the next ones ask for the master again
            reason = faults[0] if faults else f"{confirmed} of {self.copies} replicas have confirmed it in time"
            raise AnswerLost(f"{self._name} made a change, and a failover may lose it: {reason}; {MORE_REPLICAS}")
        return answers

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


async def ask_all(connection: AbstractConnection, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Commands sent together, and their answers in order; a refusal is an answer. Raises the driver's other errors.

    What a pipeline of the driver does, at half of its processor time.
    """
    packed: Any = connection.pack_commands(commands)
    await connection.send_packed_command(packed)
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(await connection.read_response())
        except redis.exceptions.ResponseError as error:
            answers.append(error)
    return answers


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
