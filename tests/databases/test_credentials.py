"""The credentials of a store: from its URL or a file, which may be half-written, and never shown."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from grange.databases import credentials
from grange.databases.credentials import CredentialSource, replacing
from grange.databases.errors import AnswerLost, DatabaseMisconfigured
from grange.databases.secret_urls import filled_url, usable_url
from grange.databases.urls import Credentials, SecretUrl, shown_url, without_login, without_options
from grange.errors import ConfigurationError
from grange.security.secrets import Secrets

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
    source = CredentialSource(await usable_url(f"${{file:{secret}}}"), FORM)
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
    assert "the value read before is used" in caplog.text
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
    with pytest.raises(ConfigurationError, match="give the password once"):
        CredentialSource(f"db://ann:one@host/name?password_file={secret}", FORM)


async def test_a_reference_stands_for_a_part_of_the_url(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its value is escaped, so it may have any character; the driver's URL has neither user nor password."""
    secret.write_text("p@ss/w%rd?#")
    monkeypatch.setenv("SHOP_HOST", "one:1,[::1]:2")
    url = await usable_url(f"db://ann:${{file:{secret}}}@${{env:SHOP_HOST}}/name?a=${{file:{secret}}}")
    source = CredentialSource(url, FORM)
    assert source.last == Credentials("ann", "p@ss/w%rd?#")
    assert source.url == "db://one:1,[::1]:2/name?a=p%40ss%2Fw%25rd%3F%23"
    assert shown_url(url) == f"db://…:${{file:{secret}}}@${{env:SHOP_HOST}}/name"
    assert repr(url) == f"SecretUrl({shown_url(url)})"
    secret.write_text("next")
    assert await source.read() == Credentials("ann", "next")


async def test_options_are_taken_out_of_a_url_that_stays_one_with_secrets(secret: Path) -> None:
    secret.write_text("one")
    url = without_options(await usable_url(f"db://ann:${{file:{secret}}}@host/name?replicas=1"), {"replicas"})
    assert isinstance(url, SecretUrl)
    source = CredentialSource(url, FORM)
    secret.write_text("two")
    assert await source.read() == Credentials("ann", "two")


@pytest.mark.parametrize("text", ["db://host/na\nme", "two\nlines"])
async def test_a_value_that_does_not_fit_into_a_url_is_refused(secret: Path, text: str) -> None:
    secret.write_text(text)
    for url in (f"${{file:{secret}}}", f"db://ann:${{file:{secret}}}@host/name"):
        with pytest.raises(ConfigurationError, match="control character") as caught:
            await filled_url(url, Secrets())
        assert "lines" not in str(caught.value)


async def test_refused_credentials_are_read_again_once_and_then_there_is_a_pause(secret: Path) -> None:
    """A refused login asks for the secret at once; the same answer is reported, and not tried for a while."""
    secret.write_text("one")
    secrets = Secrets()
    source = CredentialSource(await filled_url(f"db://ann:${{file:{secret}}}@host/name", secrets), FORM)
    right, tried = "one", list[str]()

    async def attempt(found: Credentials) -> str:
        tried.append(found.password or "")
        if tried[-1] == "one-second-late":
            secret.write_text("two")
        if tried[-1] != right:
            raise PermissionError
        return tried[-1]

    async def log_in() -> str:
        tried.clear()
        return await source.log_in("the store", attempt, lambda error: isinstance(error, PermissionError))

    assert (await log_in(), tried) == ("one", ["one"])
    secret.write_text("one-second-late")
    right = "two"
    assert (await log_in(), tried) == ("two", ["one-second-late", "two"])
    secret.write_text("before-the-store")  # those that it accepted last
    assert (await log_in(), tried) == ("two", ["before-the-store", "two"])
    assert secrets.figures.refused == 0
    right = "none"
    with pytest.raises(PermissionError):
        await log_in()
    assert (tried, secrets.figures.refused) == (["before-the-store", "two"], 1)
    with pytest.raises(DatabaseMisconfigured, match="the store refused the login a moment ago"):
        await log_in()
    assert tried == []
    secret.write_text("none")
    assert (await log_in(), tried) == ("none", ["none"])


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
