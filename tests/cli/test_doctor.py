"""The checks of stores by `grange doctor` and at the start of a silo: unsafe settings, and stores that cannot work."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from grange.cli.commands import main
from grange.cli.exit_codes import ExitCode, exit_code
from grange.errors import MembershipUnavailable
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from tests.contracts.redis_replicas import PASSWORD, Server, replicated

SHOP = """
from grange import Grain
from grange.silo import Silo

class Cart(Grain, name="cart"):
    async def add(self) -> int:
        return 1

silo = Silo(grains=[Cart], membership="sqlite:///here.db", storage="memory://", host="0.0.0.0", advertise="shop")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, so that no configuration of this machine is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("doctored_shop", None)


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


def found(result: Result) -> dict[tuple[str, str], str]:
    return {(each["stores"][0], each["check"]): each["level"] for each in json.loads(result.stdout)}


@pytest.fixture
def master() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.mark.servers
def test_a_redis_and_a_postgres(redis_url: str, postgres_dsn: str) -> None:
    """R9: the doctor reports that the test servers trade safety for speed, and changes nothing."""
    arguments = ("--membership", redis_url, "--storage", postgres_dsn, "--json")
    result = doctor(*arguments)
    assert result.exit_code == 0
    levels = found(result)
    assert levels["membership", "eviction"] == "ok"
    assert levels["membership", "persistence"] == "warn"
    assert levels["storage default", "fsync"] == "warn"
    assert levels["storage default", "synchronous_commit"] == "ok"
    assert doctor(*arguments, "--strict").exit_code == 1
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


@pytest.mark.servers
def test_a_redis_that_evicts(redis_url: str) -> None:
    """R9: the finding comes with its remedy, for people."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            result = doctor("--membership", redis_url)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert "maxmemory-policy noeviction" in result.stdout


def test_a_store_that_is_down_and_a_file_that_is_none(folder: Path) -> None:
    """Each is a finding, with exit code 1, and no password is shown."""
    (folder / "notes.txt").write_text("this is not a database" * 100)
    url = f"redis://user:{PASSWORD}@127.0.0.1:1/0"
    result = doctor("--membership", url, "--storage", "sqlite:///notes.txt", "--json")
    assert result.exit_code == 1
    levels = found(result)
    assert levels["membership", "connection"] == "bad"
    assert levels["storage default", "integrity"] == "bad"
    assert PASSWORD not in result.output + doctor("--membership", url).output


def test_the_stores_of_a_silo_are_those_of_its_author(folder: Path) -> None:
    """`module:silo` as with `grange run`. A store with two uses is checked once."""
    (folder / "doctored_shop.py").write_text(SHOP)
    result = doctor("doctored_shop:silo", "--json")
    assert result.exit_code == 0
    assert found(result) == {("membership", "file"): "ok", ("storage default", "check"): "ok"}
    both = doctor("--membership", "sqlite:///one.db", "--storage", "sqlite:///one.db", "--json")
    assert [each["stores"] for each in json.loads(both.stdout)] == [["membership", "storage default"]]


async def opened(**options: Any) -> None:
    environment = ConfiguredEnvironment(SiloConfig(**options))
    async with environment.table(), environment.storages():
        pass


@pytest.mark.servers
async def test_a_silo_warns_at_its_start(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """R9: each finding is logged once, although two stores share one place, with the event of its runbook."""
    with caplog.at_level(logging.WARNING, "grange.silo"):
        await opened(membership=redis_url, storage=redis_url)
    assert {getattr(record, "event", "") for record in caplog.records} == {"store_not_safe"}
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == len(set(texts)) == 2
    assert any("appendfsync everysec" in text for text in texts)


@pytest.mark.servers
async def test_a_silo_does_not_start_on_a_replica(master: Server) -> None:
    """R9, R10: exit code 6, and the URL to use instead."""
    with master.replica() as replica:
        await replicated(master)
        with pytest.raises(MembershipUnavailable, match="name the master") as caught:
            await opened(membership=replica.url)
    assert exit_code(caught.value) is ExitCode.STORE_UNUSABLE
    assert PASSWORD not in str(caught.value)
