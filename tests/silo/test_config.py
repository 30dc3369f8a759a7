"""Options of a silo: their sources, and the message for a wrong one."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from grange import ConfigurationError
from grange.databases.urls import SecretUrl
from grange.silo.config import SiloConfig
from grange.silo.option_errors import ARGUMENTS
from grange.silo.silo import Silo


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_defaults_make_an_embedded_silo() -> None:
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
    url = SiloConfig().storage_urls["default"]
    assert url == "postgresql://me:secret@db/shop"
    assert isinstance(url, SecretUrl)
    assert url.template == f"${{file:{tmp_path}/url}}"  # it is read again at each new connection
    monkeypatch.setenv("GRANGE_STORAGE_FILE", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="GRANGE_STORAGE_FILE"):
        SiloConfig()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"prot": 1}, "unknown option 'prot': did you mean 'port'"),
        ({"incoming_filter": []}, "did you mean 'incoming_filters', an argument of Silo"),
        ({"filters": []}, "did you mean 'incoming_filters', an argument of Silo"),
        ({"port": "x"}, "option 'port'"),
        ({"port": 70_000}, "option 'port'"),
        ({"drain_timeout": 0}, "option 'drain_timeout'"),
        ({"runtime": {"idle": 1}}, r"unknown option 'runtime\.idle': known are"),
        ({"runtime": {"idle_timeout": "10m"}}, r"'runtime\.idle_timeout': must be a number, without a unit, not '10m'"),
        ({"runtime": {"mailbox_limit": "many"}}, r"'runtime\.mailbox_limit': must be a whole number, not 'many'"),
        (
            {"runtime": {"collect_period": 0}},
            r"option 'runtime\.collect_period': .* must be a number of seconds above 0.*, not 0",
        ),
        (
            {"runtime": {"idle_timeout": float("nan")}},
            "runtime option idle_timeout must be a number of seconds above 0.*, not nan",
        ),
        ({"runtime": {"mailbox_limit": -1}}, "runtime option mailbox_limit"),
        ({"runtime": {"mailbox_limit": 1.5}}, r"option 'runtime\.mailbox_limit'"),
        ({"runtime": 5}, "option 'runtime'"),
        ({"drain_timeout": "soon"}, "option 'drain_timeout'"),
        ({"gateway_port": -1}, "option 'gateway_port'"),
        ({"storages": {"orders": 5}}, r"option 'storages\.orders'"),
        ({"labels": 5}, "option 'labels'"),
        ({"directory": {"nothing": 1}}, r"unknown option 'directory\.nothing'"),
        ({"storage_options": {"nothing": 1}}, r"unknown option 'storage_options\.nothing'"),
        ({"membership_options": {"nothing": 1}}, r"unknown option 'membership_options\.nothing'"),
        ({"transport": {"nothing": 1}}, r"unknown option 'transport\.nothing'"),
        ({"transport": {"connect_timeout": -1}}, "connect_timeout"),
        ({"membership_options": {"votes": 0}}, "votes"),
        ({"storage_options": {"connections": 0}}, "connections"),
        ({"dashboard": {"nothing": 1}}, r"unknown option 'dashboard\.nothing'"),
        (
            {"versions": {"selection": "newest"}},
            r"versions\.selection'.* one of 'all', 'latest', 'minimum', not 'newest'",
        ),
        ({"versions": {"interfaces": {"a": {"x": 1}}}}, r"versions\.interfaces': object contains unknown field `x`$"),
        ({"dashboard": {"users": {"ann": "secret"}}}, r"option 'dashboard\.users': .* 'ann' is no hash"),
        (
            {"dashboard": {"roles": {"ann": "admin"}}},
            "option 'dashboard': .* names 'ann', which the option users lacks",
        ),
        ({"host": "10.1.2.3"}, "not loopback"),
        ({"host": "0.0.0.0", "insecure": True}, "wildcard"),
        ({"http": "on"}, "option 'http': must be a whole number from 0 to 65535, or off, not 'on'"),
        ({"http": True}, "option 'http': must be .*, not True"),
        ({"http": 65536}, "option 'http'"),
        ({"http": 0, "http_host": "0.0.0.0"}, "option 'http_host': .*not loopback"),
        ({"http_host": "127.0.0.1"}, "option 'http_host': the option http opens no port"),
        ({"http_hosts": ["ops"]}, "option 'http_hosts': the option http opens no port"),
        ({"advertise": "silo.example"}, "not loopback"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        SiloConfig(**values)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("GRANGE_PORT", "high", r"option 'port' \(GRANGE_PORT\): must be a whole number.*not 'high'"),
        ("GRANGE_RUNTIME__IDLE_TIMEOUT", "soon", r"\(GRANGE_RUNTIME__IDLE_TIMEOUT\): .*not 'soon'"),
        ("GRANGE_RUNTIME__IDLE_TIMOUT", "5", r"unknown option 'runtime\.idle_timout' \(GRANGE_RUNTIME__IDLE_TIMOUT\)"),
        ("GRANGE_STORAGES", "not json", "GRANGE_STORAGES must be JSON"),
        ("GRANGE_INSECURE", "perhaps", "option 'insecure'"),
    ],
)
def test_a_wrong_value_of_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=says):
        SiloConfig()


@pytest.mark.parametrize(("value", "means"), [("off", "off"), ("0", 0), ("8080", 8080)])
def test_the_admin_port_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, means: object
) -> None:
    monkeypatch.setenv("GRANGE_HTTP", value)
    assert SiloConfig().http == means


def test_the_admin_port_may_listen_elsewhere_than_the_silo() -> None:
    config = SiloConfig(host="10.1.2.3", insecure=True, http=0, http_host="127.0.0.1")
    assert config.admin_host == "127.0.0.1"
    assert SiloConfig(host="10.1.2.3", insecure=True, http=0).admin_host == "10.1.2.3"


def test_the_file_has_tables_and_its_mistakes_are_named(tmp_path: Path) -> None:
    file = tmp_path / "grange.toml"
    file.write_text('[storages]\norders = "memory://"\n[transport]\nconnect_timeout = 7\n')
    assert SiloConfig().storage_urls["orders"] == "memory://"
    assert SiloConfig().transport_options().connect_timeout == 7
    for text, says in (
        ("prot = 1\n", "unknown option 'prot'"),
        ("[runtime]\nidle = 1\n", r"runtime\.idle' \(grange.toml\)"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=says):
            SiloConfig()


def test_a_keyword_beats_a_secret_file_and_that_beats_the_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("memory://from-secret")
    (tmp_path / "grange.toml").write_text('storage = "memory://from-toml"\nmembership = "memory://from-toml"\n')
    monkeypatch.setenv("GRANGE_STORAGE_FILE", str(tmp_path / "secret"))
    assert SiloConfig().storage == "memory://from-secret"
    assert SiloConfig().membership == "memory://from-toml"
    assert SiloConfig(storage="memory://keyword").storage == "memory://keyword"
    monkeypatch.setenv("GRANGE_STORAGE", "memory://environment")
    with pytest.raises(
        ConfigurationError, match="GRANGE_STORAGE and GRANGE_STORAGE_FILE both set the option 'storage'"
    ):
        SiloConfig()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_needs_no_insecure_option(host: str) -> None:
    assert SiloConfig(host=host).public_host == host


def test_a_public_address_needs_the_insecure_option() -> None:
    """S2."""
    config = SiloConfig(host="0.0.0.0", advertise="silo-1", insecure=True)
    assert config.public_host == "silo-1"


def test_malformed_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "grange.toml").write_text("cluster = ")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        SiloConfig()


def test_a_variable_that_must_be_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANGE_LABELS", "ssd")
    with pytest.raises(ConfigurationError, match=r"GRANGE_LABELS must be JSON, such as GRANGE_LABELS='\[\"ssd\"\]'"):
        SiloConfig()


def test_the_arguments_of_a_silo_are_known_where_options_are_explained() -> None:
    parameters = inspect.signature(Silo.__init__).parameters.keys() - {"self", "options"}
    assert set(ARGUMENTS) == parameters
