"""The roles of clients in management: by the token of an option, or of the data folder."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from grange import Grain, Unauthorized
from grange.admin_token import FILE, make_admin_token, read_admin_token
from grange.client.client import Client
from grange.errors import ConfigurationError
from grange.observability.events import Events
from grange.proto.acts import ACT, Act, Action, Level
from grange.proto.handshake import Hello, Role
from grange.proto.identity import Identity
from grange.proto.management import encode
from grange.silo.identities import Identities, Tokens, tokens_of
from grange.testing.cluster import KeywordConfig, TestCluster
from tests.silo.peers import asker_of

ADMIN, OPERATOR, VIEWER = "the-token-of-admins", "the-token-of-operators", "the-token-of-viewers"
TOKENS = Tokens(admin=ADMIN, operator=OPERATOR, viewer=VIEWER)


class Cart(Grain):
    async def touch(self) -> None: ...


@pytest.mark.parametrize(
    ("token", "level"),
    [
        (ADMIN, Level.ADMIN),
        (OPERATOR, Level.OPERATOR),
        (VIEWER, Level.VIEWER),
        ("", Level.NONE),
        (ADMIN[:-1], Level.NONE),
        (ADMIN + "x", Level.NONE),
        ("tökén-of-no-role-é", Level.NONE),
    ],
)
async def test_a_client_has_the_role_of_its_token(token: str, level: Level) -> None:
    asker = await asker_of(Identities(TOKENS, Events()), Hello("shop", Role.CLIENT, "c", token=token))
    assert asker.level is level
    assert asker.identity == (Identity(f"token:{level.name.lower()}", (level.name.lower(),)) if level else None)


async def test_a_silo_without_tokens_gives_no_client_a_role() -> None:
    identities = Identities(Tokens(), Events())
    assert (await asker_of(identities, Hello("shop", Role.CLIENT, "c"))).level is Level.NONE
    assert (await asker_of(identities, Hello("shop", Role.CLIENT, "c", token=ADMIN))).level is Level.NONE
    assert (await asker_of(identities, Hello("shop", Role.SILO, "s"))).level is Level.ADMIN


async def test_an_unknown_token_is_reported_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    await asker_of(Identities(TOKENS, Events()), Hello("shop", Role.CLIENT, "mallory", token="a-guess-of-a-token"))
    assert "the client 'mallory' sent a token that this silo does not know" in caplog.text
    assert "a-guess" not in caplog.text


def test_no_text_shows_a_token() -> None:
    config = KeywordConfig(admin_token=ADMIN, viewer_token=VIEWER)
    shown = [repr(Hello("shop", Role.CLIENT, "c", token=ADMIN)), repr(TOKENS), repr(config), str(config)]
    assert not [text for text in shown if ADMIN in text or VIEWER in text]
    assert "token='***'" in shown[0]


@pytest.mark.parametrize("token", ["two words and more", "kontröll-kontröll", "line\nline\nline\nline", "x" * 8193])
def test_a_token_that_cannot_be_one_is_refused_and_not_shown(token: str) -> None:
    for make in (lambda: KeywordConfig(admin_token=token), lambda: Client(["127.0.0.1:1"], token=token)):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert token not in str(caught.value)
        assert "a token " in str(caught.value)


@pytest.mark.parametrize("token", ["short", "x" * 513])
def test_a_management_token_has_narrower_bounds_than_one_of_a_user(token: str) -> None:
    Client(["127.0.0.1:1"], token=token)
    with pytest.raises(ConfigurationError, match="a token has 16 to 512 characters"):
        KeywordConfig(admin_token=token)


def test_two_roles_have_two_tokens() -> None:
    with pytest.raises(ConfigurationError, match="'admin_token' has the same token; each role needs its own"):
        KeywordConfig(admin_token=ADMIN, operator_token=ADMIN)


def test_silos_of_one_folder_share_a_token_that_other_users_cannot_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = tokens_of(KeywordConfig(data=folder))
    assert tokens_of(KeywordConfig(data=folder)).admin == first.admin == read_admin_token(folder)
    assert len(first.admin) >= 43
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_the_folder_is_not_used_if_an_option_gives_a_token(tmp_path: Path) -> None:
    config = KeywordConfig(data=tmp_path / "data", viewer_token=VIEWER)
    assert tokens_of(config) == Tokens(viewer=VIEWER)
    assert not (tmp_path / "data").exists()


def test_a_silo_that_comes_second_takes_the_token_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found no file; the second is about to make one."""
    link = os.link

    def slower(draft: Path, path: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        make_admin_token(tmp_path)
        link(draft, path)

    monkeypatch.setattr(os, "link", slower)
    token = make_admin_token(tmp_path)
    assert token == read_admin_token(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_other_users_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    token = make_admin_token(tmp_path)
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(ConfigurationError, match="may be read or written by other users") as caught:
        tokens_of(KeywordConfig(data=tmp_path))
    assert token not in str(caught.value)


def test_a_silo_does_not_trust_the_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silo of root could read it, and its owner knows the token; a command of root may use it."""
    token = make_admin_token(tmp_path)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ConfigurationError, match="belongs to another user") as caught:
        tokens_of(KeywordConfig(data=tmp_path))
    assert token not in str(caught.value)
    assert read_admin_token(tmp_path) == token


@pytest.mark.parametrize("content", ["", "short", "x" * 600, "with blanks in the text", "é" * 20])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(ConfigurationError, match="holds no token; remove the file"):
        read_admin_token(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_a_file_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / FILE
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        (tmp_path / "other").write_text(ADMIN)
        path.symlink_to(tmp_path / "other")
    else:
        os.mkfifo(path, 0o600)
    with pytest.raises(ConfigurationError, match=r"is not a regular file|cannot be read"):
        read_admin_token(tmp_path)


def test_a_folder_that_cannot_be_written_leaves_management_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert tokens_of(KeywordConfig(data=tmp_path / "file" / "data")) == Tokens()
    assert "so no client has a role in management: set the option admin_token" in caplog.text


async def test_a_refused_question_was_not_executed_and_names_the_remedy() -> None:
    async with TestCluster([Cart], silos=1, viewer_token=VIEWER) as cluster:
        silo = cluster.silos[0]
        async with Client([silo.gateway], transport=cluster.new_transport("v"), token=VIEWER) as viewer:
            with pytest.raises(Unauthorized, match="needs the role operator, and this client has the role viewer") as c:
                await viewer.ask(viewer.gateways[0], ACT, encode(Act(Action.DRAIN, reason="a test")))
            assert "Client(token=...)" in str(c.value)
            assert silo.management.state().ready
            await viewer.get_grain(Cart, "a").touch()
