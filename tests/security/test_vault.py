"""Secrets of a real OpenBao: AppRole and Kubernetes logins, tokens that end, leases, and a server that goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from grange.errors import ConfigurationError, SecretUnavailable
from grange.security import secrets as reading
from grange.security.references import Reference, parse
from grange.security.secrets import SecretNews, Secrets
from grange.security.vault import VaultSecrets
from grange.security.vault_options import VaultOptions
from grange.servers.openbao import OpenBaoServer

pytestmark = pytest.mark.servers

POLICY = """
path "secret/data/*" { capabilities = ["read"] }
path "kv1/*" { capabilities = ["read"] }
path "auth/token/create" { capabilities = ["update"] }
"""


@pytest.fixture(scope="module")
def server() -> Iterator[OpenBaoServer]:
    with OpenBaoServer() as server:
        yield server


def options_for(server: OpenBaoServer, folder: Path, name: str, **role: Any) -> VaultOptions:
    """Options with a new AppRole, whose secret id is in a file."""
    role_id, secret_id = server.make_approle(name, POLICY, **role)
    (folder / "secret-id").write_text(secret_id)
    file = f"${{file:{folder / 'secret-id'}}}"
    return VaultOptions(address=server.url, role_id=role_id, secret_id=file, refresh=0.01)


def reference(text: str) -> Reference:
    (found,) = parse(text)
    assert isinstance(found, Reference)
    return found


PASSWORD = reference("${vault:secret/shop/db#password}")


@asynccontextmanager
async def opened(options: VaultOptions, **more: Any) -> AsyncIterator[tuple[Secrets, list[SecretNews]]]:
    secrets, news = Secrets(tables={"vault": options}, **more), list[SecretNews]()
    secrets.report = news.append
    async with asyncio.timeout(60), secrets.open():
        yield secrets, news


def vault_of(secrets: Secrets) -> VaultSecrets:
    vault = secrets._sources["vault"]
    assert isinstance(vault, VaultSecrets)
    return vault


async def test_a_secret_of_the_kv_engine_is_read_and_read_again(server: OpenBaoServer, tmp_path: Path) -> None:
    """S9: version 2 and version 1, nested paths; a changed value is taken without a new login."""
    server.write("shop/db", password="canary-one", user="app")
    server.call("POST", "sys/mounts/kv1", {"type": "kv", "options": {"version": "1"}})
    server.call("POST", "kv1/shop", {"password": "canary-v1"})
    async with opened(options_for(server, tmp_path, "kv")) as (secrets, _):
        assert (await secrets.read(PASSWORD)).reveal() == "canary-one"
        assert (await secrets.read(reference("${vault:kv1/shop#password}"))).reveal() == "canary-v1"
        server.write("shop/db", password="canary-two", user="app")
        assert (await secrets.read(PASSWORD, fresh=True)).reveal() == "canary-two"
        assert vault_of(secrets).logins == 1
        with pytest.raises(ConfigurationError, match="has no key 'pin'; its keys are password, user"):
            await secrets.read(reference("${vault:secret/shop/db#pin}"))
        with pytest.raises(ConfigurationError, match="has nothing at the path 'secret/nothing'"):
            await secrets.read(reference("${vault:secret/nothing#a}"))


async def test_a_fresh_value_is_not_asked_for_within_the_refresh_time(server: OpenBaoServer, tmp_path: Path) -> None:
    """Unless a store has refused it: then it is asked for at once."""
    server.write("shop/db", password="canary-one")
    base = options_for(server, tmp_path, "cached")
    options = VaultOptions(address=base.address, role_id=base.role_id, secret_id=base.secret_id, refresh=3600)
    async with opened(options) as (secrets, _):
        assert (await secrets.read(PASSWORD)).reveal() == "canary-one"
        server.write("shop/db", password="canary-two")
        assert (await secrets.read(PASSWORD)).reveal() == "canary-one"
        assert (await secrets.read(PASSWORD, fresh=True)).reveal() == "canary-two"


async def test_a_token_is_renewed_before_it_ends(server: OpenBaoServer, tmp_path: Path) -> None:
    """S9: tokens of 2 s, renewed at two thirds; the silo logs in anew only when the renewals shrink to their end."""
    server.write("shop/db", password="canary-one")
    async with opened(options_for(server, tmp_path, "short", token_ttl="2s", token_max_ttl="60s")) as (secrets, news):
        await secrets.read(PASSWORD)
        vault = vault_of(secrets)
        first = vault._token
        while vault._token is first:
            await asyncio.sleep(0.05)
        assert vault.logins == 1
        assert (await secrets.read(PASSWORD, fresh=True)).reveal() == "canary-one"
        assert vault.logins == 1
        assert news == []


async def test_a_token_at_the_end_of_its_time_is_replaced(server: OpenBaoServer, tmp_path: Path) -> None:
    """S9: its longest time is 2 s, so a renewal gives less and less: a new login, before it ends."""
    server.write("shop/db", password="canary-one")
    async with opened(options_for(server, tmp_path, "ending", token_ttl="2s", token_max_ttl="2s")) as (secrets, news):
        await secrets.read(PASSWORD)
        vault = vault_of(secrets)
        while vault.logins < 3:
            await asyncio.sleep(0.05)
        assert (await secrets.read(PASSWORD, fresh=True)).reveal() == "canary-one"
        assert news == []


async def test_a_revoked_token_leads_to_a_new_login(server: OpenBaoServer, tmp_path: Path) -> None:
    """S9: 403, one new login, and the same question again."""
    server.write("shop/db", password="canary-one")
    async with opened(options_for(server, tmp_path, "revoked")) as (secrets, news):
        await secrets.read(PASSWORD)
        calls = vault_of(secrets)._calls
        assert calls is not None
        server.call("POST", "auth/token/revoke", {"token": calls._client.token})
        assert (await secrets.read(PASSWORD, fresh=True)).reveal() == "canary-one"
        assert vault_of(secrets).logins == 2
        assert news == []


async def test_a_path_without_a_right_is_refused_after_one_new_login(server: OpenBaoServer, tmp_path: Path) -> None:
    async with opened(options_for(server, tmp_path, "denied")) as (secrets, _):
        for _ in range(2):
            with pytest.raises(SecretUnavailable, match=r"refuses the path 'sys/raw/x': permission denied"):
                await secrets.read(reference("${vault:sys/raw/x#a}"), fresh=True)


async def test_a_wrong_secret_id_is_named_and_not_shown(server: OpenBaoServer, tmp_path: Path) -> None:
    options = options_for(server, tmp_path, "wrong")
    (tmp_path / "secret-id").write_text("canary-secret-id")
    async with opened(options) as (secrets, _):
        words = r"refuses its login by approle: .*see the options of \[vault\]"
        with pytest.raises(SecretUnavailable, match=words) as found:
            await secrets.read(PASSWORD)
    assert "canary" not in str(found.value)


async def test_the_last_good_value_is_used_while_the_server_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S9: a server that is killed, the last good value, the server back: read again, with a new login."""
    with OpenBaoServer() as server:
        server.write("shop/db", password="canary-one")
        options = options_for(server, tmp_path, "away")
        async with opened(options) as (secrets, news):
            await secrets.read(PASSWORD)
            server.kill()
            assert (await secrets.read(PASSWORD, fresh=True)).reveal() == "canary-one"
            assert [each.kind for each in news] == ["unread"]
            assert secrets.unread == {"vault": 1}
            server.start()  # empty: other tokens, roles and mounts
            server.write("shop/db", password="canary-two")
            server.make_approle("away", POLICY)
            server.call("POST", "auth/approle/role/away/role-id", {"role_id": options.role_id})
            secret_id = server.call("POST", "auth/approle/role/away/secret-id")["data"]["secret_id"]
            (tmp_path / "secret-id").write_text(secret_id)
            assert (await secrets.read(PASSWORD, fresh=True)).reveal() == "canary-two"
            assert [each.kind for each in news] == ["unread", "back"]
            assert secrets.unread == {}
    assert "canary" not in caplog.text


async def test_a_value_that_is_too_old_is_used_no_more(tmp_path: Path) -> None:
    """S9: after `secrets_stale` the reading raises, and says for how long it could not be read."""
    with OpenBaoServer() as server:
        server.write("shop/db", password="canary-one")
        async with opened(options_for(server, tmp_path, "stale"), stale=0.5) as (secrets, news):
            await secrets.read(PASSWORD)
            server.kill()
            with pytest.raises(SecretUnavailable, match=r"was not read for \d+ s, so its last value is used no more"):
                await read_for_ever(secrets)
            assert {each.kind for each in news} == {"unread", "stale"}
            assert all("canary" not in repr(each) for each in news)


async def read_for_ever(secrets: Secrets) -> None:
    while True:
        await secrets.read(PASSWORD, fresh=True)


async def test_a_server_that_is_down_at_the_start_is_named(tmp_path: Path) -> None:
    with OpenBaoServer() as server:
        options = options_for(server, tmp_path, "down")
    async with opened(options) as (secrets, _):
        words = rf"^\$\{{vault:secret/shop/db#password}}: Vault at {server.url} cannot be reached for its login"
        with pytest.raises(SecretUnavailable, match=words):
            await secrets.read(PASSWORD)


async def test_a_slow_server_does_not_hold_a_new_connection(
    server: OpenBaoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last good value is used after a second; the answer that comes later counts for the next one."""
    monkeypatch.setattr(reading, "PATIENCE", 0.05)
    server.write("shop/db", password="canary-one")
    async with opened(options_for(server, tmp_path, "slow")) as (secrets, _):
        await secrets.read(PASSWORD)
        vault = vault_of(secrets)
        await vault._lock.acquire()  # as if an earlier question were under way
        server.write("shop/db", password="canary-two")
        assert (await secrets.read(PASSWORD)).reveal() == "canary-one"
        vault._lock.release()
        while (await secrets.read(PASSWORD)).reveal() != "canary-two":
            await asyncio.sleep(0.01)


async def test_the_token_is_given_back_at_the_end(server: OpenBaoServer, tmp_path: Path) -> None:
    server.write("shop/db", password="canary-one")
    async with opened(options_for(server, tmp_path, "given-back")) as (secrets, _):
        await secrets.read(PASSWORD)
        calls = vault_of(secrets)._calls
        assert calls is not None
        token = calls._client.token
        assert server.call("POST", "auth/token/lookup", {"token": token})["data"]["policies"]
    with pytest.raises(RuntimeError, match="403"):
        server.call("POST", "auth/token/lookup", {"token": token})


async def test_nothing_of_a_secret_is_logged(
    server: OpenBaoServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, also by the libraries below."""
    caplog.set_level(logging.DEBUG)
    server.write("shop/db", password="canary-one")
    options = options_for(server, tmp_path, "quiet")
    async with opened(options) as (secrets, _):
        await secrets.read(PASSWORD)
        calls = vault_of(secrets)._calls
        assert calls is not None
        shown = caplog.text + repr(secrets) + repr(calls) + repr(options) + repr(vault_of(secrets)._held)
        for each in ("canary", calls._client.token, (tmp_path / "secret-id").read_text()):
            assert each not in shown


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, r"needs the option vault.address \(GRANGE_VAULT__ADDRESS\)"),
        ({"address": "http://127.0.0.1:1", "role_id": "r"}, r"needs the option vault.secret_id"),
        ({"address": "http://127.0.0.1:1", "auth": "kubernetes"}, r"by kubernetes needs the option vault.role"),
        (
            {"address": "http://127.0.0.1:1", "role_id": "r", "secret_id": "${vault:a#b}"},
            r"the option vault.secret_id may refer to \$\{file:…\} and \$\{env:…\} only",
        ),
    ],
)
async def test_a_login_that_lacks_something_is_named(values: dict[str, str], words: str) -> None:
    async with opened(VaultOptions(**values)) as (secrets, _):
        with pytest.raises(ConfigurationError, match=words):
            await secrets.read(PASSWORD)
