"""Options: where they come from, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from grange import ConfigurationError
from grange.silo.config import SiloConfig


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_with_nothing_set_everything_is_embedded() -> None:
    config = SiloConfig()
    assert config.host == "127.0.0.1"
    assert config.membership_url == "sqlite:///.grange/cluster.db"
    assert config.storage_urls == {"default": "sqlite:///.grange/state.db"}


def test_keyword_beats_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grange.toml").write_text(
        'cluster = "file"\nservice = "file"\nname = "file"\n[runtime]\nidle_timeout = 5\n'
    )
    monkeypatch.setenv("GRANGE_SERVICE", "environment")
    monkeypatch.setenv("GRANGE_NAME", "environment")
    config = SiloConfig(name="keyword")
    assert (config.cluster, config.service, config.name) == ("file", "environment", "keyword")
    assert config.runtime_options().idle_timeout == 5


def test_options_of_rooms_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANGE_RUNTIME__IDLE_TIMEOUT", "60")
    monkeypatch.setenv("GRANGE_MEMBERSHIP_OPTIONS__VOTES", "3")
    config = SiloConfig()
    assert config.runtime_options().idle_timeout == 60
    assert config.membership_settings().votes == 3


def test_a_secret_comes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("postgresql://me:secret@db/shop\n")
    monkeypatch.setenv("GRANGE_STORAGE_FILE", str(tmp_path / "url"))
    assert SiloConfig().storage_urls["default"] == "postgresql://me:secret@db/shop"
    monkeypatch.setenv("GRANGE_STORAGE_FILE", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="GRANGE_STORAGE_FILE"):
        SiloConfig()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"prot": 1}, "unknown option 'prot'; known are"),
        ({"port": "x"}, "option 'port'"),
        ({"port": 70_000}, "option 'port'"),
        ({"drain_timeout": 0}, "option 'drain_timeout'"),
        ({"runtime": {"idle": 1}}, r"unknown option runtime\.idle; known are"),
        ({"runtime": {"idle_timeout": "soon"}}, "option runtime"),
        ({"transport": {"connect_timeout": -1}}, "connect_timeout"),
        ({"membership_options": {"votes": 0}}, "votes"),
        ({"storage_options": {"connections": 0}}, "connections"),
        ({"host": "10.1.2.3"}, "not loopback"),
        ({"host": "0.0.0.0", "insecure": True}, "wildcard"),
        ({"advertise": "silo.example"}, "not loopback"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        SiloConfig(**values)


def test_a_public_address_is_a_decision() -> None:
    config = SiloConfig(host="0.0.0.0", advertise="silo-1", insecure=True)
    assert config.public_host == "silo-1"


def test_malformed_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "grange.toml").write_text("cluster = ")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        SiloConfig()
