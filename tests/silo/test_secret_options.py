"""Secrets in the options of a silo: filled in at the start, shown as references, followed while it runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from grange import Grain
from grange.cli.commands import main
from grange.cli.configured_here import configured_here
from grange.cli.exit_codes import ExitCode, exit_code
from grange.cli.here import plain_here
from grange.databases.urls import SecretUrl
from grange.errors import ConfigurationError, OptionError, SecretUnavailable
from grange.observability.events import Events
from grange.proto.acts import Level, level_of, of_level
from grange.security.known import KnownSecrets
from grange.silo import secret_options
from grange.silo.config import SiloConfig
from grange.silo.identities import Identities, configured_tokens
from grange.silo.option_reference import effective_options
from grange.silo.secret_options import filled, filled_now, follow_tokens, secrets_of
from grange.silo.setup import options_of
from grange.silo.silo import Silo

TOKEN = "canary-token-0123456789"
PASSWORD = "canary-p@ssword/"


class Cart(Grain, name="cart"):
    """A grain."""

    async def add(self) -> int:
        """Return one."""
        return 1


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, so that no configuration of this machine is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "pg").write_text(PASSWORD)
    monkeypatch.setenv("SHOP_CLUSTER", "shop")
    return tmp_path


def referring(**more: Any) -> SiloConfig:
    values: dict[str, Any] = {
        "cluster": "${env:SHOP_CLUSTER}",
        "admin_token": "${file:token}",
        "labels": ("ssd", "zone=${env:SHOP_CLUSTER}"),
        "storage": "postgresql://app:${file:pg}@db/shop",
        "storages": {"orders": "redis://:${file:pg}@cache/0", "plain": "memory://"},
    }
    return SiloConfig(**{**values, **more})


async def test_each_text_option_may_refer_to_secrets() -> None:
    """S9: URLs, tokens, names, lists. What reads the URLs again is with them."""
    config = referring()
    secrets = secrets_of(config)
    made = await filled(config, secrets)
    assert (made.cluster, made.admin_token) == ("shop", TOKEN)
    assert made.labels == ("ssd", "zone=shop")
    url = made.storage_urls["default"]
    assert url == "postgresql://app:canary-p%40ssword%2F@db/shop"
    assert isinstance(url, SecretUrl)
    assert (url.template, url.secrets) == (config.storage, secrets)
    assert made.storage_urls["orders"] == "redis://:canary-p%40ssword%2F@cache/0"
    assert made.storage_urls["plain"] == "memory://"
    assert made.source_of(("cluster",)) == "the code"


async def test_they_are_shown_as_references() -> None:
    """S9: by `repr`, by management and the dashboard, by `grange config`; before the start and after it."""
    config = referring(vault={"address": "https://vault", "secret_id": "canary-secret-id", "role_id": "shop"})
    for each in (config, await filled(config, secrets_of(config))):
        shown = {option.name: option.value for option in effective_options(each)}
        assert shown["storage"] == "postgresql://…:${file:pg}@db/shop"
        assert shown["storages"] == {"orders": "redis://…:${file:pg}@cache/0", "plain": "memory://"}
        assert shown["admin_token"] == "${file:token}"
        assert shown["vault.secret_id"] == "***"
        assert options_of(each)["admin_token"] == "${file:token}"
        assert options_of(each)["storages.orders"] == "redis://…:${file:pg}@cache/0"
        for text in (repr(each), str(options_of(each)), str(shown)):
            assert "canary" not in text


async def test_what_is_read_is_known_as_a_secret() -> None:
    """Passwords and tokens, also those that stand in the options; names are no secrets."""
    known = KnownSecrets()
    config = referring(viewer_token="canary-viewer-0123456", storages={"b": "redis://:canary-literal@cache/0"})
    await filled(config, secrets_of(config, known))
    for each in (TOKEN, PASSWORD, "canary-p%40ssword%2F", "canary-viewer-0123456", "canary-literal"):
        assert known.hide(f"a {each} b") == "a *** b"
    assert known.hide("the cluster shop") == "the cluster shop"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"storage": "${file:/none}"}, r"^option 'storage'.*\$\{file:/none}: the file '/none' cannot be read"),
        ({"admin_token": "${env:NONE}"}, r"^option 'admin_token'.*'NONE' is not set"),
        ({"admin_token": "${file:short}"}, r"^option 'admin_token'.*a token has 16 to 512 characters"),
        ({"host": "${file:pg}"}, r"^option 'host'.*does not allow what \$\{file:pg} leads to"),
        ({"membership": "redis://${file:lines}@h"}, r"^option 'membership'.*\$\{file:lines} holds does not fit"),
        ({"storage": "postgresql://a:${clown:x}@h/d"}, r"no source of secrets named 'clown'"),
    ],
)
async def test_what_does_not_fit_is_named_and_not_shown(folder: Path, options: dict[str, str], words: str) -> None:
    """S9: the error names option and reference."""
    (folder / "lines").write_text("canary\nlines")
    (folder / "short").write_text("canary")
    config = SiloConfig(**options, insecure=True)
    with pytest.raises(ConfigurationError, match=words) as caught:
        await filled(config, secrets_of(config))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("option", ["cluster", "storage", "admin_token"])
def test_what_is_no_reference_is_refused_at_once(option: str) -> None:
    with pytest.raises(OptionError, match=rf"option '{option}'.*begins no reference to a secret") as caught:
        SiloConfig(**{option: "redis://canary${x@h"})
    assert "canary" not in str(caught.value)


def test_a_value_that_looks_like_a_reference_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An escape, and a secret with a dollar and a brace in it."""
    odd = "${env:SHOP_CLUSTER}" + "x" * 16
    monkeypatch.setenv("ODD", odd)
    made = filled_now(SiloConfig(name="$${a}", admin_token="${env:ODD}", labels=["${env:ODD}"]))
    assert (made.name, made.admin_token, made.labels) == ("${a}", odd, (odd,))
    made = filled_now(SiloConfig(storage="redis://:${env:ODD}@h/0"))
    assert made.storage_urls["default"].startswith("redis://:%24%7Benv")


def test_without_references_nothing_is_done() -> None:
    config = SiloConfig(storage="memory://")
    assert filled_now(config) is config


def test_a_table_is_checked_when_its_secrets_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER", "orders")
    config = SiloConfig(reminders={"provider": "${env:PROVIDER}"}, storages={"orders": "memory://"})
    assert filled_now(config).reminder_settings().provider == "orders"
    with pytest.raises(OptionError, match="unknown option"):
        SiloConfig(reminders={"provide": "${env:PROVIDER}"})


async def test_a_silo_runs_with_secrets_in_its_options(folder: Path) -> None:
    (folder / "membership").write_text("memory://")
    silo = Silo(grains=[Cart], storage="memory://", port=0, gateway_port=0, http=0)
    await silo.start(membership="${file:membership}", admin_token="${file:token}", cluster="${env:SHOP_CLUSTER}")
    try:
        assert await silo.get_grain(Cart, "ann").add() == 1
        assert silo._here("").ports.cluster == "shop"
        assert silo._here("").hosting.identities.of_token(TOKEN) == of_level(Level.ADMIN)
        figures = silo.inspection.figures.snapshot().secrets
        assert figures.read == {"file": 2, "env": 1}
    finally:
        await silo.stop()


async def test_a_source_that_is_away_stops_the_start() -> None:
    silo = Silo(grains=[Cart], port=0, gateway_port=0, membership="redis://:${vault:secret/shop#password}@127.0.0.1/0",
                vault={"address": "http://127.0.0.1:1", "role_id": "r", "secret_id": "s"})  # fmt: skip
    with pytest.raises(SecretUnavailable, match=r"Vault at http://127\.0\.0\.1:1 cannot be reached") as caught:
        await silo.start()
    assert exit_code(caught.value) is ExitCode.STORE_UNUSABLE


async def test_tokens_are_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S9: also those of `GRANGE_..._TOKEN_FILE`. A token that is none, or another role's, changes nothing."""
    monkeypatch.setattr(secret_options, "LOOK_PERIOD", 0.01)
    (folder / "viewer").write_text("viewer-token-0123456789")
    monkeypatch.setenv("GRANGE_VIEWER_TOKEN_FILE", str(folder / "viewer"))
    config = SiloConfig(admin_token="${file:token}")
    secrets = secrets_of(config)
    config = await filled(config, secrets)
    identities = Identities(configured_tokens(config), Events("here"))

    def level(token: str) -> Level:
        return level_of(identities.of_token(token))

    task = asyncio.create_task(follow_tokens(config, secrets, identities))
    try:
        async with asyncio.timeout(20):
            for file, name, wanted in (
                ("token", "another-admin-token", Level.ADMIN),
                ("viewer", "x" * 20, Level.VIEWER),
            ):
                (folder / file).write_text(name)
                while level(name) is not wanted:
                    await asyncio.sleep(0.01)
            assert level(TOKEN) is Level.NONE
            for wrong in ("short", "x" * 20):
                (folder / "token").write_text(wrong)
                await asyncio.sleep(0.05)
                assert level("another-admin-token") is Level.ADMIN
    finally:
        task.cancel()


def test_the_commands_show_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """S9: `grange config` opens nothing; `grange doctor` and `grange migrate` read the secrets."""
    monkeypatch.setenv("GRANGE_MEMBERSHIP", "sqlite:///${env:SHOP_CLUSTER}.db")
    monkeypatch.setenv("GRANGE_STORAGE", "redis://app:${file:pg}@127.0.0.1:1/0")
    monkeypatch.setenv("GRANGE_ADMIN_TOKEN", "${file:token}")
    config = CliRunner().invoke(main, ["config", "show", "--json"])
    values = {each["name"]: each["value"] for each in json.loads(config.stdout)}
    assert values["storage"] == "redis://…:${file:pg}@127.0.0.1:1/0"
    assert values["admin_token"] == "${file:token}"
    doctor = CliRunner().invoke(main, ["doctor", "--json"])
    places = {each["place"] for each in json.loads(doctor.stdout)}
    assert places == {"sqlite:///${env:SHOP_CLUSTER}.db", "redis://…:${file:pg}@127.0.0.1:1/0"}
    monkeypatch.setenv("GRANGE_STORAGE", "sqlite:///${env:SHOP_CLUSTER}.db")
    migrate = CliRunner().invoke(main, ["migrate"])
    assert Path("shop.db").exists()
    for each in (config, doctor, migrate):
        assert "canary" not in each.output


def test_a_command_sends_the_token_that_its_option_refers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANGE_ADMIN_TOKEN", "${file:token}")
    assert plain_here({}) is None
    assert configured_here({}).token == TOKEN
