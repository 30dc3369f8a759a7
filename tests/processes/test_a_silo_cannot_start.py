"""A silo that cannot work ends before it joins: with one line of error, and an exit code."""

from __future__ import annotations

import signal

import pytest

from grange.servers.process import free_port
from tests.processes.silo_process import SiloProcess, Silos

USAGE, NOT_JOINED, STORE_UNUSABLE = 2, 3, 6


def complaint(silo: SiloProcess) -> str:
    """The only line on standard error that is not a log line."""
    (line,) = [line for line in silo.logged if not line.startswith("{")]
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("option", ["--port", "--gateway-port", "--probe-port", "--http"])
async def test_a_port_in_use_is_named_with_its_option(silos: Silos, option: str) -> None:
    first = await silos.run()
    taken = first.gateway.rpartition(":")[2]
    second = await silos.start(option, taken)
    assert await second.ended() == USAGE
    assert f"({option}): cannot listen on 127.0.0.1:{taken}: the port is in use" in complaint(second)
    assert "choose another port" in complaint(second)
    assert await first.stop() == 0


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("a-host-that-is.invalid", "the host cannot be resolved"),
        ("192.0.2.1", "the host is not an address of this machine"),
    ],
)
async def test_a_host_that_is_not_here_is_named_with_its_option(silos: Silos, host: str, words: str) -> None:
    silo = await silos.start("--host", host, "--insecure")
    assert await silo.ended() == USAGE
    assert "option 'host' (--host): cannot listen on" in complaint(silo)
    assert words in complaint(silo)


@pytest.mark.parametrize("folder", ["feature%2Fx", "a#b?c", "a b", "ümlaut", "../outside"])
async def test_the_name_of_the_data_folder_is_taken_as_it_is(silos: Silos, folder: str) -> None:
    silo = await silos.run("--data", folder)
    assert await silo.stop() == 0
    assert {path.name for path in (silos.folder / folder).glob("*.db")} == {"cluster.db", "state.db"}


async def test_a_file_in_place_of_the_data_folder_is_named(silos: Silos) -> None:
    (silos.folder / "notes").write_text("")
    silo = await silos.start("--data", "notes")
    assert await silo.ended() == USAGE
    assert "option 'data' (--data): " in complaint(silo)
    assert "'notes/cluster.db' cannot be made: its folder or a part of the path is a file" in complaint(silo)


@pytest.mark.parametrize(("option", "scheme"), [("--membership", "redis"), ("--storage", "postgresql")])
async def test_a_store_that_is_down_is_named(silos: Silos, option: str, scheme: str) -> None:
    """Its password is not shown."""
    port = free_port()
    silo = await silos.start(option, f"{scheme}://ann:secret@127.0.0.1:{port}/0")
    assert await silo.ended() == STORE_UNUSABLE
    assert f"127.0.0.1:{port}" in complaint(silo)
    assert "secret" not in silo.errors


@pytest.mark.parametrize("option", ["--membership", "--storage"])
async def test_a_store_with_a_wrong_setting_is_a_mistake_in_the_configuration(
    silos: Silos, option: str, postgres_dsn: str, redis_url: str
) -> None:
    """A supervisor must not start the silo again and again; the option and the remedy are named."""
    for url, remedy in (
        (f"{postgres_dsn}_missing", "createdb postgres_missing"),
        (redis_url.replace("redis://", "redis://ann:secret@"), "correct user and password"),
    ):
        silo = await silos.start(option, url)
        assert await silo.ended() == USAGE
        assert complaint(silo).startswith(f"error: option {option[2:]!r} ({option}): ")
        assert remedy in complaint(silo)
        assert "secret" not in silo.errors


@pytest.mark.parametrize(
    ("option", "url", "words"),
    [
        ("--membership", "redis//localhost", "not a membership URL"),
        ("--membership", "postgresql://u:se/cret@h/x", "option 'membership' (--membership): the URL is malformed"),
        ("--storage", "postgresql://u:se/cret@h/x", "option 'storage' (--storage): the URL is malformed"),
        ("--storage", "mysql://localhost/shop", "the storage URL has the scheme 'mysql'; known are"),
    ],
)
async def test_a_malformed_url_is_a_configuration_error(silos: Silos, option: str, url: str, words: str) -> None:
    silo = await silos.start(option, url)
    assert await silo.ended() == USAGE
    assert words in complaint(silo)
    assert "cret" not in silo.errors


async def test_a_malformed_url_of_a_further_storage_names_it(silos: Silos) -> None:
    silo = await silos.start(GRANGE_STORAGES__ORDERS="postgresql://u:se/cret@h/x")
    assert await silo.ended() == USAGE
    assert "option 'storages.orders' (GRANGE_STORAGES__ORDERS): the URL is malformed" in complaint(silo)
    assert "cret" not in silo.errors


async def test_a_silo_that_gets_no_answers_gives_up_joining(silos: Silos) -> None:
    """The other silos live according to the table, but are not reachable: this silo must not run grains alone."""
    first = await silos.run()
    first.signal(signal.SIGSTOP)
    patience = {"ALIVE_PERIOD": "0.5", "ALIVE_MISSED": "3", "JOIN_TIMEOUT": "2", "MISSED_LIMIT": "100"}
    silo = await silos.start(**{f"GRANGE_MEMBERSHIP_OPTIONS__{name}": value for name, value in patience.items()})
    assert await silo.ended() == NOT_JOINED
    assert "could not join within 2.0 s" in complaint(silo)
    first.signal(signal.SIGCONT)
    assert await first.stop() == 0
