"""From a URL to a storage: schemes, malformed URLs, missing drivers, and secrets that no message shows."""

from __future__ import annotations

import asyncio
import sys
import traceback
from pathlib import Path
from urllib.parse import urlsplit

import aiosqlite
import asyncpg
import pytest
import redis.asyncio

from grange.databases.sqlite import migrate
from grange.errors import ConfigurationError, StorageError
from grange.storage.memory import MemoryStorage
from grange.storage.options import StorageOptions
from grange.storage.stores.postgres import PostgresStorage
from grange.storage.stores.redis import RedisStorage
from grange.storage.stores.sqlite import SqliteStorage
from grange.storage.urls import open_storage, storage_factory
from grange.testing.contracts.storage_samples import ANN

SECRET = "s3cret"


async def refusal(url: str, service: str = "svc") -> str:
    """The message with which a URL is refused, which shows no secret, not even in the traceback."""
    with pytest.raises(ConfigurationError) as caught:
        async with asyncio.timeout(20), open_storage(url, service):
            pass
    assert SECRET not in "".join(traceback.format_exception(caught.value, limit=0))
    return str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ("memory", MemoryStorage),
        ("sqlite", SqliteStorage),
        ("redis", RedisStorage),
        ("rediss", RedisStorage),
        ("redis+sentinel", RedisStorage),
        ("postgres", PostgresStorage),
        ("postgresql", PostgresStorage),
    ],
)
def test_every_shipped_scheme_is_known(scheme: str, kind: type) -> None:
    assert storage_factory(f"{scheme}://anything") is kind


@pytest.mark.parametrize(
    "url", [f"mongodb://u:{SECRET}@host/db", "", "state.db", f"//u:{SECRET}@host", f"postgresql:/u:{SECRET}@h"]
)
async def test_an_unknown_scheme_names_the_known_ones(url: str) -> None:
    assert "known are memory://, postgres://, postgresql://, redis+sentinel://, redis://" in await refusal(url)


@pytest.mark.parametrize(
    "url",
    [
        "memory://somewhere",
        "sqlite://relative.db",
        "sqlite:///",
        "sqlite:///state.db?mode=ro",
        "sqlite:///nul%00.db",
        "sqlite:////",
        f"redis://u:{SECRET}@host:notaport/0",
        f"redis://u:{SECRET}@host/notanumber",
        f"redis://u:{SECRET}@host:99999999/0",
        f"redis://u:{SECRET}@host/0?socket_timeout=long",
        f"postgresql://u:{SECRET}@host:notaport/db",
        f"postgresql://u:{SECRET}@host:99999999/db",
        f"postgresql://u:{SECRET}@127.0.0.1:1/db?sslmode=perhaps",
    ],
)
async def test_a_malformed_url_names_the_expected_form(url: str) -> None:
    message = await refusal(url)
    assert urlsplit(url).scheme[:5] in message.lower()


@pytest.mark.parametrize("service", ["", "  ", "nul\0", "lone\ud800", "x" * 201])
async def test_an_odd_service_name_is_refused(service: str) -> None:
    assert "service name" in await refusal("memory://", service)


async def test_a_relative_sqlite_path_is_below_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_storage("sqlite:///new/folder/my%20state.db", "svc") as storage:
        await storage.write(ANN, "state", b"1", None)
    assert (tmp_path / "new/folder/my state.db").exists()


@pytest.mark.parametrize(
    ("scheme", "driver", "remedy"),
    [
        ("redis", "redis", r'pip install "redis>=[\d.]+" \(it is the extra .redis. of grange\)'),
        ("postgresql", "asyncpg", r'pip install "asyncpg>=[\d.]+" \(it is the extra .postgres. of grange\)'),
    ],
)
def test_the_remedy_for_a_missing_driver_is_right_for_an_installation_and_for_a_checkout(
    monkeypatch: pytest.MonkeyPatch, scheme: str, driver: str, remedy: str
) -> None:
    for module in [name for name in sys.modules if name == driver or name.startswith(f"{driver}.")]:
        monkeypatch.delitem(sys.modules, module)
    database = "postgres" if driver == "asyncpg" else driver
    for module in (f"grange.storage.stores.{database}", f"grange.databases.{database}"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [_Absent(driver), *sys.meta_path])
    with pytest.raises(ConfigurationError, match=remedy):
        storage_factory(f"{scheme}://host")


class _Absent:
    """An import system in which one package is not installed."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


async def test_a_wrong_redis_password_is_a_configuration_error(redis_url: str) -> None:
    message = await refusal(redis_url.replace("redis://", f"redis://stranger:{SECRET}@"))
    assert "login" in message


async def test_a_wrong_postgres_login_is_a_configuration_error(postgres_url: str) -> None:
    message = await refusal(postgres_url.replace("postgres@", f"stranger:{SECRET}@"))
    assert '"stranger"' in message
    message = await refusal(postgres_url.rpartition("/")[0] + "/nowhere")
    assert '"nowhere"' in message


@pytest.mark.parametrize("name", ["operation_timeout", "connect_timeout", "payload_limit", "connections"])
def test_options_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        StorageOptions(**{name: 0})


async def test_a_callers_redis_client_is_left_open(redis_url: str) -> None:
    """STO-22; also one that decodes responses, as many applications set it."""
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as client:
        storage = RedisStorage(client, "svc")
        etag = await storage.write(ANN, "state", b'{"a": 1}', None)
        record = await storage.read(ANN, "state")
        assert (record.payload, record.etag) == (b'{"a": 1}', etag)
        assert await storage.clear(ANN, "state", etag) == "2"
        assert await client.ping()


async def test_a_callers_postgres_pool_is_left_open(postgres_url: str) -> None:
    """STO-22; and every connection that `open` made is closed: only the caller's own is left."""
    async with open_storage(postgres_url, "svc") as storage:
        await asyncio.gather(*(storage.read(ANN, str(number)) for number in range(10)))
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        own = PostgresStorage(pool, "svc")
        await own.write(ANN, "state", b"1", None)
        assert await pool.fetchval("SELECT count(*) FROM grange_state") == 1
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        async with asyncio.timeout(20):
            while await pool.fetchval(others) != 1:  # the server notices a closed connection a moment later
                await asyncio.sleep(0.01)


async def test_a_callers_sqlite_connection_is_left_open(tmp_path: Path) -> None:
    """STO-22."""
    async with aiosqlite.connect(tmp_path / "state.db", isolation_level=None) as connection:
        await migrate(connection, "storage")
        storage = SqliteStorage(connection, "svc")
        await storage.write(ANN, "state", b"1", None)
        assert list(await connection.execute_fetchall("SELECT payload, etag FROM grange_state")) == [("1", 1)]
    async with aiosqlite.connect(tmp_path / "state.db") as connection:
        with pytest.raises(ConfigurationError, match="isolation_level=None"):
            SqliteStorage(connection, "svc")


async def test_an_operation_after_the_end_is_a_typed_error(tmp_path: Path) -> None:
    async with open_storage(f"sqlite:///{tmp_path}/state.db", "svc") as storage:
        await storage.read(ANN, "state")
    with pytest.raises(StorageError, match="closed"):
        await storage.read(ANN, "state")
    with pytest.raises(StorageError, match="closed"):
        await storage.write(ANN, "state", b"1", None)
