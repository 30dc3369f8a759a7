"""Redis as a silo finds it: the documented rights suffice, and what cannot work is refused with the remedy."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
import redis

from grange.databases.checks import check_store
from grange.databases.redis_refusals import refusal
from grange.errors import ConfigurationError, GrangeError, MembershipUnavailable, StorageUnavailable
from grange.membership.model.member import SiloStatus
from grange.membership.urls import open_table, try_table
from grange.proto.ids import GrainId, SiloAddress
from grange.servers.redis import RedisServer
from grange.storage.provider import Query
from grange.storage.sets import SLOTS, ChangeSet, IndexEntry, Received, Stamp
from grange.storage.urls import open_storage, try_storage
from grange.testing.contracts.membership_samples import NOON, a_silo, insert
from grange.testing.contracts.set_samples import STATE, FullStorage, put, reminder, write
from tests.contracts.redis_replicas import PASSWORD, Sentinel, Server

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "configuration.md"
ANN = GrainId("cart", "ann")
WRITER = SiloAddress("10.0.0.1", 11111, 1)


def documented_rights() -> list[str]:
    """The rules of the page, after `ACL SETUSER app`."""
    found = re.search(r"<!-- grants: redis -->\n```text\nACL SETUSER app (.*?)\n```", PAGE.read_text("utf-8"))
    assert found is not None
    return found[1].split()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def app(server: RedisServer, client: redis.Redis) -> str:
    """The URL of a user with exactly the documented rights."""
    client.execute_command("ACL", "SETUSER", "app", "reset", *documented_rights())
    return server.url.replace("redis://", "redis://app:password@")


pytestmark = pytest.mark.servers


@pytest.mark.parametrize("database", [0, 3])
async def test_the_documented_rights_suffice(app: str, client: redis.Redis, database: int) -> None:
    """Join, live, die, clean up, rebuild; write, clear, record a death."""
    url = f"{app.removesuffix('/0')}/{database}"
    async with open_table(url, "one") as table:
        known = await insert(table, a_silo(1))
        assert await table.alive(a_silo(1).address, NOON)
        row = known.rows[0]
        assert await table.update(a_silo(1, SiloStatus.DEAD), row.etag, known.version)
        assert await table.cleanup(NOON + timedelta(days=1)) == 1
        seen = (await table.read()).version
        assert await table.rebuild([a_silo(2)], seen, seen.number + 1)
        assert (await table.read_row(a_silo(2).address))[0] is not None
    async with open_storage(url, "svc") as storage:
        etag = await storage.write(ANN, "s", b"1", None, stamp=Stamp(WRITER, 1))
        etag = await storage.clear(ANN, "s", etag, stamp=Stamp(WRITER, 2))
        await storage.fence([WRITER])
        with pytest.raises(Exception, match="was declared dead"):
            await storage.write(ANN, "s", b"2", etag, stamp=Stamp(WRITER, 3))
        await use_all(cast("FullStorage", storage))
    levels = {each.subject: each.level for each in await check_store(url)}
    assert "INFO" not in levels


async def use_all(storage: FullStorage) -> None:
    """Sets with an index, an answer and reminders; each kind of query."""
    indexed = (IndexEntry("city", "Rome"), IndexEntry("mail", "x", unique=True))
    rows = [reminder(ANN, name, "one", due) for name, due in (("due", 1), ("parked", None))]
    items = (write(ANN, b"1", None, *indexed),)
    answers = (Received(ANN, "id", b"1", 9),)
    await storage.commit(ChangeSet(None, items, (), answers, tuple(put(row) for row in rows)))
    await storage.commit(ChangeSet(None, reminders=(put(reminder(ANN, "due", "two", 2), "one"),)))
    held = await storage.claim(ANN, STATE, 7)
    await storage.commit(ChangeSet(None, (write(ANN, b"2", held.etag, *indexed, claim=7),)))
    assert await storage.received(ANN, "id") == b"1"
    assert len(await storage.list_records(ANN.type)) == 1
    for order in (None, "city"):
        for where in ({}, {"mail": "x"}, {"mail": "x", "city": "Rome"}):
            query = Query(grain_type=ANN.type, state=STATE, where=where, order_by=order, descending=True)
            assert await storage.find(query) == [ANN.key]
    slots, later = range(SLOTS), await storage.now()
    assert len(await storage.reminders_of(ANN)) == 2
    assert len(await storage.reminders_due(slots, later, 9)) == len(await storage.reminders_parked(slots, 9)) == 1


async def test_a_trial_leaves_nothing(app: str, client: redis.Redis) -> None:
    assert [each.level for each in await try_table(app, "one")] == ["ok"]
    assert [each.level for each in await try_storage(app, "svc")] == ["ok"]
    assert [client.execute_command("INFO", "keyspace")] == [{}]


OPTIONAL = {"+info", "+config|get", "+role"}
ONLY_TABLE = {"+hincrby", "+del", "+multi", "+exec", "+wait", "+waitaof"}
SORTED_SETS = {"+zadd", "+zrem", "+zmscore", "+zlexcount", "+zrangebylex", "+zrevrangebylex", "+zrangebyscore"}
ONLY_STATE = {"+get", "+set", "+expire", "+time"} | SORTED_SETS


@pytest.mark.parametrize("right", [each for each in documented_rights() if each.startswith("+")])
async def test_each_right_is_needed_and_named(right: str, app: str, client: redis.Redis) -> None:
    """Without one, the trial of a use that needs it says which."""
    name = right[1:]
    if right == "+select":
        app = f"{app.removesuffix('/0')}/1"
    client.execute_command("ACL", "SETUSER", "app", f"-{name}")
    table, state = await outcome(try_table(app, "one")), await outcome(try_storage(app, "svc"))
    if right in OPTIONAL:
        assert (table, state) == ("", "")
        return
    assert (not table) == (right in ONLY_STATE)
    assert (not state) == (right in ONLY_TABLE)
    for text in filter(None, (table, state)):
        assert f"ACL SETUSER app +{name}" in text


async def outcome(trial: object) -> str:
    """Empty if it works, else the words of the ConfigurationError."""
    try:
        await trial  # type: ignore[misc]
    except ConfigurationError as error:
        return str(error)
    return ""


async def test_keys_that_the_user_may_not_touch_are_named(app: str, client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "app", "resetkeys", "~other:*")
    for trial in (try_table(app, "one"), try_storage(app, "svc")):
        assert "~grange:*" in await outcome(trial)
    await refused(app, "~grange:*", storage=False)  # a table reads its keys when it is opened


async def refused(url: str, remedy: str, *, table: bool = True, storage: bool = True) -> None:
    """The openers refuse it as a mistake, with the remedy and without the password."""
    opened = [(open_table(url, "one"), table), (open_storage(url, "svc"), storage)]
    for context in (each for each, wanted in opened if wanted):
        with pytest.raises(ConfigurationError) as caught:
            async with asyncio.timeout(20), context:
                pass
        assert remedy in str(caught.value)
        assert PASSWORD not in str(caught.value)


async def test_a_wrong_login_is_a_mistake(app: str) -> None:
    await refused(app.replace("password", "wrong"), "correct user and password")
    await refused(app.replace("/0", "/9999"), "name another number")


async def test_a_password_that_is_changed_later_is_an_outage(app: str, client: redis.Redis) -> None:
    """The words name the login. After the password is back, the same open stores work."""
    async with open_table(app, "one") as table, open_storage(app, "svc") as storage:
        known = await insert(table, a_silo(1))
        client.execute_command("ACL", "SETUSER", "app", "resetpass", ">rotated")
        for connection in client.client_list():
            if connection["user"] == "app":
                client.execute_command("CLIENT", "KILL", "ID", connection["id"])
        with pytest.raises(MembershipUnavailable, match="refused the login that its URL names"):
            await until_refused(table.read)
        with pytest.raises(StorageUnavailable, match="refused the login that its URL names"):
            await until_refused(lambda: storage.read(ANN, "s"))
        client.execute_command("ACL", "SETUSER", "app", ">password")
        assert await table.read() == known


async def until_refused(operation: object) -> None:
    """The first use of a killed connection only finds it closed."""
    for _ in range(20):
        try:
            await operation()  # type: ignore[operator]
        except GrangeError as error:
            if "login" in str(error):
                raise


async def test_a_node_of_a_cluster_is_refused() -> None:
    """Also where the user may not ask for INFO, by the answer to the first command."""
    with Server("--cluster-enabled", "yes", "--appendonly", "no") as node:
        await refused(node.url, "cluster-enabled no")
        assert {each.subject: each.level for each in await check_store(node.url)}["cluster mode"] == "bad"
        node.ask("ACL", "SETUSER", "app", "on", ">password", "~*", "+@all", "-info")
        await refused(node.url.replace(f":{PASSWORD}@", "app:password@"), "cluster-enabled no", storage=False)
        assert "cluster-enabled no" in await outcome(try_storage(node.url, "svc"))


async def test_a_sentinel_is_not_taken_for_a_server() -> None:
    with Server() as master, Sentinel(master) as sentinel:
        await refused(f"redis://{sentinel.address}/0", "redis+sentinel://")


async def test_tls_asked_of_a_plain_port(server: RedisServer) -> None:
    await refused(server.url.replace("redis://", "rediss://"), "write redis:// in place of rediss://")


async def test_no_tls_asked_of_a_tls_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TLS port closes a plain connection without a word. The wheel's server has no TLS, so the handshake is faked."""

    async def is_tls(host: str, port: int) -> bool:
        return host == "127.0.0.1"

    monkeypatch.setattr("grange.databases.redis.speaks_tls", is_tls)
    async with a_server(b"") as url:
        await refused(url, "write rediss:// in place of redis://")


async def test_protected_mode_is_named() -> None:
    async with a_server(b"-DENIED Redis is running in protected mode because no password is set.\r\n") as url:
        await refused(url, "set a password (requirepass, ACL SETUSER)")


@asynccontextmanager
async def a_server(answer: bytes) -> AsyncIterator[str]:
    """Sends one answer to each connection, and closes it."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ("MOVED 866 10.0.0.2:6379", "cluster-enabled no"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "cluster-enabled no"),
        ("CLUSTERDOWN Hash slot not served", "cluster-enabled no"),
        ("NOAUTH Authentication required.", "correct user and password"),
        ("AUTH <password> called without any password configured for the default user", "remove the password"),
        ("User ann has no permissions to run the 'config|get' command", "ACL SETUSER ann +config|get"),
        ("this user has no permissions to run the 'hset' command", "ACL SETUSER USER +hset"),
    ],
)
def test_words_of_several_versions(answer: str, remedy: str) -> None:
    assert remedy in str(refusal(answer))


@pytest.mark.parametrize("answer", ["OOM command not allowed", "READONLY You can't write", "LOADING", "ERR unknown"])
def test_what_no_setting_causes_is_left_alone(answer: Sequence[str]) -> None:
    assert refusal(str(answer)) is None
