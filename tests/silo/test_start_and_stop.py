"""Start and stop of a silo: refused definitions, and no port or task left open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from grange import ConfigurationError, Grain, StorageUnavailable
from grange.client import Client
from grange.errors import HandshakeRefused, SiloUnavailable
from grange.membership.agent import MembershipAgent
from grange.silo import Silo
from grange.silo.environment import ConfiguredEnvironment
from grange.storage.provider import GrainStorage
from grange.testing import TestCluster


class Hello(Grain):
    async def say(self) -> str:
        return f"hello {self.key}"


class Other(Grain, name="hello"):
    async def say(self) -> str:
        return "other"


class Nowhere(Grain, placement="nowhere"):
    async def say(self) -> str:
        return ""


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def embedded(*grains: type[Grain], **options: object) -> Silo:
    return Silo(list(grains) or [Hello], port=0, gateway_port=0, **options)


async def test_an_embedded_silo_needs_nothing() -> None:
    """One process, SQLite in a folder, a real client over gRPC."""
    async with embedded() as silo, Client([silo.gateway]) as client:
        assert await silo.get_grain(Hello, "ann").say() == "hello ann"
        assert await client.get_grain(Hello, "bob").say() == "hello bob"


async def test_wrong_definitions_stop_the_start() -> None:
    """Two classes of one name, an unknown placement, or no class: an error names them before anything is opened."""
    for grains, text in (((Hello, Other), "both named 'hello'"), ((Nowhere,), "no placement 'nowhere'")):
        with pytest.raises(ConfigurationError, match=text):
            await embedded(*grains).start()
    with pytest.raises(ConfigurationError, match="at least one grain class"):
        await Silo([], port=0, gateway_port=0).start()


async def test_a_port_in_use_is_named_and_nothing_stays_open() -> None:
    """A silo can start when the port is free again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)):
            await Silo([Hello], port=port, gateway_port=0).start()
    async with Silo([Hello], port=port, gateway_port=0) as silo:
        assert silo.address.port == port


class Broken(ConfiguredEnvironment):
    """Storage that is down when the silo starts."""

    @asynccontextmanager
    async def storages(self) -> AsyncGenerator[Mapping[str, GrainStorage]]:
        raise StorageUnavailable("the database is down")
        yield {}


async def test_a_start_that_fails_half_way_closes_what_it_opened() -> None:
    """The ports are free again, and no task is left."""
    before = asyncio.all_tasks()
    silo = embedded()
    definition = silo.definition()
    with pytest.raises(StorageUnavailable, match="the database is down"):
        await silo.start(Broken(definition.config))
    assert asyncio.all_tasks() == before


async def test_a_silo_ends_without_leftovers() -> None:
    """Every task of a silo or client has ended when its `async with` ends."""
    before = asyncio.all_tasks()
    async with embedded() as silo, Client([silo.gateway]) as client:
        await client.get_grain(Hello, "a").say()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_silo_is_used_inside_its_async_with() -> None:
    """Before it a call is an error; a second start is one, too."""
    silo = embedded()
    with pytest.raises(RuntimeError, match="not running"):
        silo.get_grain(Hello, "a")
    async with silo:
        with pytest.raises(RuntimeError, match="started already"):
            await silo.start()


async def test_a_grain_may_use_its_silo_before_the_start_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other silos place grains here as soon as the row says active; their code may call through the `Silo` object."""
    silo, join, answers = embedded(), MembershipAgent.join, []

    async def join_and_call(agent: MembershipAgent) -> None:
        await join(agent)
        answers.append((await silo.get_grain(Hello, "ann").say(), silo.view.active[0].address == silo.address))

    monkeypatch.setattr(MembershipAgent, "join", join_and_call)
    async with silo:
        assert answers == [("hello ann", True)]


async def test_a_client_without_a_gateway_names_all_it_tried() -> None:
    """Within a bounded time, each address with its reason."""
    async with TestCluster([Hello], silos=1) as cluster:
        dead = "127.0.0.1:1"
        with pytest.raises(SiloUnavailable, match=r"127\.0\.0\.1:1: .*Is a silo running there\?"):
            async with Client([dead], transport=cluster.new_transport("lost")):
                pass


async def test_a_client_of_another_cluster_is_refused_at_once() -> None:
    """The error names both clusters and comes before any time-out."""
    async with embedded(cluster="green") as silo:
        with pytest.raises(HandshakeRefused, match=r"'green'.*'blue'") as caught:
            async with Client([silo.gateway], cluster="blue"):
                pass
        assert caught.value.code == "wrong-cluster"


async def test_each_step_of_a_silos_life_is_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    """The events stay the same when messages are reworded, because tools that read the log depend on them."""
    caplog.set_level("INFO", "grange.silo")
    async with embedded():
        pass
    events = [getattr(each, "event", None) for each in caplog.records if each.name == "grange.silo"]
    assert events == ["silo_joining", "silo_active", "silo_stopping", "silo_stopped"]


async def test_a_data_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    silo = embedded(data=tmp_path / "file")
    with pytest.raises(ConfigurationError, match=r"option 'data': the SQLite file .*file/.* cannot be made"):
        await silo.start()


async def test_a_client_at_the_silo_port_is_told_so() -> None:
    """This common mistake has its own message."""
    async with embedded() as silo:
        with pytest.raises(HandshakeRefused, match="clients use its gateway port"):
            async with Client([silo.address.endpoint]):
                pass


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:x", "host:99999"])
async def test_a_malformed_gateway_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a gateway"):
        async with Client([text]):
            pass


async def test_a_client_fails_over_between_gateways() -> None:
    """It learns all silos from one gateway, and uses the others when that one dies."""
    async with TestCluster([Hello], silos=3) as cluster:
        transport = cluster.new_transport("second")
        async with Client([cluster.silos[0].gateway], transport=transport) as client:
            await client.wait_for({silo.address for silo in cluster.silos})
            await cluster.kill(cluster.silos[0])
            for number in range(20):
                assert await client.get_grain(Hello, str(number)).say() == f"hello {number}"


async def test_a_client_keeps_nothing_of_silos_that_are_gone() -> None:
    """After twenty generations it has connections to living silos only."""
    async with TestCluster([Hello], silos=1) as cluster:
        transport = cluster.new_transport("long-lived")
        async with Client([cluster.silos[0].gateway], transport=transport) as client:
            for number in range(20):
                await cluster.restart(cluster.silos[0])
                await client.wait_for({silo.address for silo in cluster.silos})
                assert await client.get_grain(Hello, str(number)).say() == f"hello {number}"
            assert len(client._sender._links) <= 3
