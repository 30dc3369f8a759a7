"""The credentials of a store: from its URL or a file, which may be half-written, and never shown."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from grange.databases import credentials
from grange.databases.credentials import CredentialSource, replacing, with_url_file
from grange.databases.errors import AnswerLost
from grange.databases.urls import Credentials, without_login, without_options
from grange.errors import ConfigurationError

FORM = "db://user:password@host/name"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return tmp_path / "secret"


async def test_without_a_file_they_are_those_of_the_url() -> None:
    source = CredentialSource("db://ann:one@host/name?a=1", FORM)
    assert not source.changes
    assert source.url == "db://ann:one@host/name?a=1"
    assert await source.read() == Credentials("ann", "one")


async def test_a_file_holds_the_password(secret: Path) -> None:
    """The user is that of the URL. The driver's URL has neither option nor user."""
    secret.write_text("one\n")
    source = CredentialSource(f"db://ann@host:1,other/name?password_file={secret}&a=1", FORM)
    assert source.url == "db://host:1,other/name?a=1"
    assert source.last == Credentials("ann", "one")
    secret.write_text("p@ss/w%rd")  # a password in a file is not escaped
    assert await source.read() == Credentials("ann", "p@ss/w%rd")


async def test_a_file_holds_a_url(secret: Path) -> None:
    secret.write_text("db://ann:one@host/name")
    source = CredentialSource(with_url_file("db://ann:one@host/name", secret), FORM)
    assert source.url == "db://host/name"
    secret.write_text("db://host/name?user=bob&password=t%40o")
    assert await source.read() == Credentials("bob", "t@o")


async def test_a_file_in_the_middle_of_a_change_leaves_the_earlier_ones(
    secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret.write_text("one")
    source = CredentialSource(f"db://ann@host/name?password_file={secret}", FORM)
    for text in ("", "two\nlines"):
        secret.write_text(text)
        assert await source.read() == Credentials("ann", "one")
    secret.unlink()
    assert await source.read() == Credentials("ann", "one")
    assert "those read before are used" in caplog.text
    assert "two" not in caplog.text


@pytest.mark.parametrize("text", [None, "", "two\nlines"])
def test_a_file_that_is_useless_at_the_start_is_named(secret: Path, text: str | None) -> None:
    if text is not None:
        secret.write_text(text)
    with pytest.raises(ConfigurationError, match="the file of the option password_file cannot be read") as caught:
        CredentialSource(f"db://ann@host/name?password_file={secret}", FORM)
    assert "two" not in str(caught.value)


def test_two_passwords_are_one_too_many(secret: Path) -> None:
    secret.write_text("one")
    for url in (f"db://ann:one@host/name?password_file={secret}", f"db://h/n?password_file={secret}&url_file={secret}"):
        with pytest.raises(ConfigurationError, match="give the password once"):
            CredentialSource(url, FORM)


@pytest.mark.parametrize("url", ["sqlite:///a.db", "memory://", "no url", "db://ann@host/n?password_file=/p"])
def test_a_url_without_a_login_of_its_own_gets_no_file(url: str) -> None:
    assert with_url_file(url, Path("/secret")) == url


def test_nothing_else_of_a_url_is_changed() -> None:
    url = "db://a%40:b@one:1,[::1]/na%20me?x=%40&y=1&x=2"
    assert without_login(url) == "db://one:1,[::1]/na%20me?x=%40&y=1&x=2"
    assert without_options(url, {"y"}) == "db://a%40:b@one:1,[::1]/na%20me?x=%40&x=2"
    assert without_options(url, {"x", "y"}) == "db://a%40:b@one:1,[::1]/na%20me"


async def test_earlier_connections_go_on_until_the_store_accepts_the_new_ones(
    secret: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(credentials, "LOOK_PERIOD", 0.01)
    caplog.set_level(logging.INFO)
    secret.write_text("one")
    source = CredentialSource(f"db://ann@host/name?password_file={secret}", FORM)
    accepted, tried, retired = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def prove() -> None:
        tried.set()
        if not accepted.is_set():
            raise AnswerLost("not yet")

    async def retire() -> None:
        assert accepted.is_set()
        assert not retired.is_set()
        retired.set()

    async with asyncio.timeout(20), replacing(source, "the store", prove, retire):
        with suppress(TimeoutError):
            await asyncio.wait_for(tried.wait(), 0.1)
        assert not tried.is_set()  # nothing has changed
        secret.write_text("two")
        await tried.wait()
        accepted.set()
        await retired.wait()
        await asyncio.sleep(0.05)  # and they are replaced once
    assert "the store does not accept its new credentials yet" in caplog.text
    assert "the store has new credentials" in caplog.text
    assert "two" not in caplog.text
