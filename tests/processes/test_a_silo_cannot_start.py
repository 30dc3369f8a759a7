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


@pytest.mark.parametrize("option", ["--port", "--gateway-port"])
async def test_a_port_in_use_is_named(silos: Silos, option: str) -> None:
    first = await silos.run()
    taken = str(first.address.port) if option == "--port" else first.gateway.rpartition(":")[2]
    second = await silos.start(option, taken)
    assert await second.ended() == USAGE
    assert f"cannot listen on 127.0.0.1:{taken}" in complaint(second)
    assert "choose another port" in complaint(second)
    assert await first.stop() == 0


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
    """A supervisor must not start the silo again and again; the use of the store and the remedy are named."""
    use = {"--membership": "membership", "--storage": "storage default"}[option]
    for url, remedy in (
        (f"{postgres_dsn}_missing", "createdb postgres_missing"),
        (redis_url.replace("redis://", "redis://ann:secret@"), "correct user and password"),
    ):
        silo = await silos.start(option, url)
        assert await silo.ended() == USAGE
        assert complaint(silo).startswith(f"error: {use}: ")
        assert remedy in complaint(silo)
        assert "secret" not in silo.errors


@pytest.mark.parametrize(
    ("option", "url", "words"),
    [
        ("--membership", "redis//localhost", "not a membership URL"),
        ("--storage", "mysql://localhost/shop", "the storage URL has the scheme 'mysql'; known are"),
    ],
)
async def test_a_malformed_url_is_a_configuration_error(silos: Silos, option: str, url: str, words: str) -> None:
    silo = await silos.start(option, url)
    assert await silo.ended() == USAGE
    assert words in complaint(silo)


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
