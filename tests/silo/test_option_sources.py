"""No option is lost in silence: names that no option has, values given twice, files that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import ConfigurationError
from grange.databases.sqlite import path_of
from grange.databases.urls import SecretUrl
from grange.errors import OptionError
from grange.silo.config import SiloConfig
from grange.text_files import LARGEST_FILE

URL = "postgresql://user:t0psecret@db/shop"
SECRET = "t0psecret"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def complaint(**options: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        SiloConfig(**options)
    assert SECRET not in str(caught.value)
    return str(caught.value)


# --- grange.toml ------------------------------------------------------------------------------------------------------


def test_a_folder_in_its_place_stops_the_start() -> None:
    Path("grange.toml").mkdir()
    assert "configuration file grange.toml cannot be read: it is a folder" in complaint()


def test_a_dangling_link_stops_the_start() -> None:
    Path("grange.toml").symlink_to("nowhere.toml")
    assert "it is a link to a file that is not there" in complaint()


def test_a_link_to_a_file_is_followed() -> None:
    Path("real.toml").write_text('cluster = "orange"\n')
    Path("grange.toml").symlink_to("real.toml")
    assert SiloConfig().cluster == "orange"


def test_a_pipe_is_not_waited_for() -> None:
    os.mkfifo("grange.toml")
    assert "it is not a regular file" in complaint()


def test_a_link_to_itself_stops_the_start() -> None:
    Path("grange.toml").symlink_to("grange.toml")
    assert "grange.toml cannot be read: " in complaint()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'cluster = "\xff"\n', "it is not UTF-8 at byte 11"),
        (b'\xef\xbb\xbfcluster = "a"\n', "byte order mark"),
        ('cluster = "a"\n'.encode("utf-16"), "byte order mark"),
        (b"#" * (LARGEST_FILE + 1), "larger than"),
        (b"cluster = \n", "it is not TOML"),
        (b'cluster = "a"\ncluster = "b"\n', "it is not TOML"),
        (b"labels = " + b"[" * 100_000, "grange.toml cannot be read"),
        (b"\0", "it is not TOML"),
    ],
)
def test_a_file_that_cannot_be_read_stops_the_start(data: bytes, says: str) -> None:
    Path("grange.toml").write_bytes(data)
    assert says in complaint()


def test_a_file_without_permission_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("grange.toml").write_text("")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)  # the tests may run as root, who may read everything
    assert "cannot be read: Permission denied" in complaint()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[silo]\nport = 5\n", "unknown option 'silo' (grange.toml): there is no such table"),
        ("[grange]\nport = 5\n", "unknown option 'grange'"),
        ("[tool.grange]\nport = 5\n", "unknown option 'tool'"),
        ("gateway-port = 5\n", "unknown option 'gateway-port' (grange.toml): did you mean 'gateway_port'?"),
        ("[runtime]\nidle-timeout = 5\n", "unknown option 'runtime.idle-timeout' (grange.toml): did you mean"),
        ("[runtime]\nport = 5\n", "'runtime.port' (grange.toml): this option stands at the top"),
        ("[runtime]\nprobe_timeout = 5\n", "this option stands in the table 'membership_options'"),
        ("idle_timeout = 5\n", "'idle_timeout' (grange.toml): this option stands in the table 'runtime'"),
        ('[storages]\nDefault = "memory://"\n', "'Default' and 'default' differ by case only"),
        ("[membership]\nvotes = 3\n", "stand in [membership_options]"),
        ('[storage]\norders = "memory://"\n', "further storages in [storages]"),
        (f'[storages.orders]\nurl = "{URL}"\n', "option 'storages.orders' (grange.toml): must be a URL"),
        (f'storage = ["{URL}"]\n', "option 'storage' (grange.toml): must be a URL"),
        (f'[storages]\n"{URL}" = "orders"\n', "not by a URL"),
        ("runtime = 5\n", "must be a table of options"),
        ("port = true\n", "option 'port' (grange.toml): must be a whole number from 0 to 65535, not True"),
        ("drain_timeout = inf\n", "option 'drain_timeout' (grange.toml): must be a number of seconds"),
    ],
)
def test_a_key_that_would_be_ignored_is_named_with_the_file(text: str, says: str) -> None:
    Path("grange.toml").write_text(text)
    assert says in complaint()


# --- the environment --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("GRANGE_PROT", "GRANGE_PROT is no option; did you mean GRANGE_PORT?"),
        ("GRANGE_MEMBRESHIP", "did you mean GRANGE_MEMBERSHIP?"),
        ("GRANGE_STORGE_FILE", "did you mean GRANGE_STORAGE?"),
        ("GRANGE_ZZZ", "GRANGE_ZZZ is no option; known are GRANGE_CLUSTER"),
        ("grange_zzz", "grange_zzz is no option"),
        ("GRANGE_", "GRANGE_ is no option"),
        ("GRANGE_FILE", "GRANGE_FILE is no option"),
        ("GRANGE_ZZZ__PORT", "GRANGE_ZZZ__PORT is no option"),
        ("GRANGE_PORT__X", "GRANGE_PORT__X is no option; write GRANGE_PORT"),
        ("GRANGE_RUNTIME_IDLE_TIMEOUT", "did you mean GRANGE_RUNTIME__IDLE_TIMEOUT?"),
        ("GRANGE_STORAGES_ORDERS", "did you mean GRANGE_STORAGES__ORDERS?"),
        ("GRANGE_STORAGE_OPTIONS_X", "did you mean GRANGE_STORAGE_OPTIONS__X?"),
        ("GRANGE_PACKED_FRAMES", "GRANGE_PACKED_FRAMES is no option; did you mean GRANGE_TRANSPORT__PACKED_FRAMES?"),
        ("GRANGE_ZZZ__PACKED_FRAMES", "did you mean GRANGE_TRANSPORT__PACKED_FRAMES?"),
        ("GRANGE_RUNTIME__FOO", "unknown option 'runtime.foo' (GRANGE_RUNTIME__FOO)"),
        ("GRANGE_RUNTIME__", "GRANGE_RUNTIME__ is no option; write GRANGE_RUNTIME__NAME"),
        ("GRANGE_RUNTIME__IDLE_TIMEOUT__X", "is no option; write GRANGE_RUNTIME__NAME"),
    ],
)
def test_a_variable_that_names_no_option_stops_the_start(monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.setenv(name, "5")
    assert says in complaint()


def test_the_variables_of_kubernetes_for_a_service_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    link = "tcp://10.0.0.1:6379"
    for name, value in {
        "GRANGE_SERVICE_HOST": "10.0.0.1",
        "GRANGE_SERVICE_PORT": "6379",
        "GRANGE_REDIS_SERVICE_HOST": "10.0.0.1",
        "GRANGE_REDIS_SERVICE_PORT_REDIS": "6379",
        "GRANGE_REDIS_PORT": link,
        "GRANGE_REDIS_PORT_6379_TCP": link,
        "GRANGE_REDIS_PORT_6379_TCP_ADDR": "10.0.0.1",
        "GRANGE_PORT_11111_TCP_PROTO": "tcp",
    }.items():
        monkeypatch.setenv(name, value)
    assert SiloConfig().port == 11111


@pytest.mark.parametrize("name", ["GRANGE_PORT", "GRANGE_GATEWAY_PORT", "GRANGE_PROBE_PORT"])
def test_a_variable_of_kubernetes_with_the_name_of_an_option_is_explained(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:11111")
    assert f"{name} comes from Kubernetes" in complaint()
    assert "enableServiceLinks: false" in complaint()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("GRANGE_STORAGE", "GRANGE_STORAGE_FILE"),
        ("GRANGE_STORAGES__ORDERS", "GRANGE_STORAGES__ORDERS_FILE"),
        ("GRANGE_STORAGE", "grange_storage"),
    ],
)
def test_two_variables_for_one_option_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: str, second: str
) -> None:
    (tmp_path / "secret").write_text(URL)
    monkeypatch.setenv(first, URL)
    monkeypatch.setenv(second, str(tmp_path / "secret") if second.endswith("_FILE") else URL)
    assert f"{first} and {second} both set the option" in complaint()


def test_a_table_as_json_and_one_of_its_options_by_itself_are_joined_or_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRANGE_RUNTIME", '{"mailbox_limit": 5}')
    monkeypatch.setenv("GRANGE_RUNTIME__IDLE_TIMEOUT", "7")
    options = SiloConfig().runtime_options()
    assert (options.mailbox_limit, options.idle_timeout) == (5, 7)
    monkeypatch.setenv("GRANGE_RUNTIME__MAILBOX_LIMIT", "6")
    assert "both set the option 'runtime.mailbox_limit'" in complaint()


@pytest.mark.parametrize("name", ["GRANGE_STORAGE", "GRANGE_MEMBERSHIP", "GRANGE_STORAGES__ORDERS", "GRANGE_DATA"])
def test_an_empty_place_for_data_stops_the_start(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An unset variable of a compose file is empty; state must not go to the embedded default then."""
    monkeypatch.setenv(name, "")
    assert "empty" in complaint() or "blank" in complaint()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"\xff\xfe", "byte order mark"),
        (b"\xff", "not UTF-8"),
        (URL.encode() + b"\nsecond line", "several lines"),
    ],
)
@pytest.mark.parametrize("name", ["GRANGE_STORAGE_FILE", "GRANGE_MEMBERSHIP_FILE"])
def test_a_secret_that_cannot_be_read_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    (tmp_path / "secret").write_bytes(data)
    monkeypatch.setenv(name, str(tmp_path / "secret"))
    assert says in complaint()
    assert name in complaint()


@pytest.mark.parametrize("path", ["nowhere", ".", "", URL])
def test_a_secret_that_is_no_file_stops_the_start(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """A URL in place of the file's name is a likely mistake, and must not be shown."""
    monkeypatch.setenv("GRANGE_STORAGE_FILE", path)
    assert "GRANGE_STORAGE_FILE" in complaint()


def test_a_secret_of_one_storage_comes_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{URL}\n")
    monkeypatch.setenv("GRANGE_STORAGES__ORDERS_FILE", str(tmp_path / "secret"))
    config = SiloConfig()
    assert config.storages["orders"] == URL
    assert template_of(config.storage_urls["orders"]) == f"${{file:{tmp_path}/secret}}"


def test_the_credentials_of_a_store_are_read_from_its_file_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The store learns the file, as if its URL were a reference to it; that of code has no file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text(f"{URL}?sslmode=require")
    (tmp_path / "embedded").write_text("sqlite:///state.db")
    monkeypatch.setenv("GRANGE_MEMBERSHIP_FILE", "secret")
    monkeypatch.setenv("GRANGE_STORAGE_FILE", "embedded")
    config = SiloConfig()
    assert config.membership_url == f"{URL}?sslmode=require"
    assert template_of(config.membership_url) == f"${{file:{tmp_path}/secret}}"
    assert config.storage_urls == {"default": "sqlite:///state.db"}
    assert not isinstance(SiloConfig(membership=URL).membership_url, SecretUrl)


def template_of(url: str) -> str:
    assert isinstance(url, SecretUrl)
    return url.template


# --- storages ---------------------------------------------------------------------------------------------------------


def test_the_default_storage_may_be_named_like_the_others() -> None:
    config = SiloConfig(storages={"default": URL, "orders": "memory://"})
    assert config.storage_urls == {"default": URL, "orders": "memory://"}


def test_the_default_storage_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("grange.toml").write_text('[storages]\ndefault = "memory://"\n')
    assert SiloConfig().storage_urls["default"] == "memory://"
    monkeypatch.setenv("GRANGE_STORAGE", URL)
    said = complaint()
    assert "option 'storages.default' (grange.toml): the option 'storage' gives the default storage, too" in said


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "-x", "x" * 65, "a\x1b[2J", "é", URL])
def test_an_odd_name_of_a_storage_is_refused(name: str) -> None:
    assert "a storage is named by letters" in complaint(storages={name: "memory://"})


def test_a_variable_does_not_add_a_second_storage_beside_one_of_another_case(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("grange.toml").write_text('[storages]\nOrders = "memory://"\n')
    monkeypatch.setenv("GRANGE_STORAGES__ORDERS", URL)
    assert "'orders' and 'Orders' differ by case only" in complaint()


@pytest.mark.parametrize("value", [5, None, {"url": URL}, [URL], b"\xff"])
@pytest.mark.parametrize("option", ["storage", "membership"])
def test_a_place_of_the_wrong_kind_is_not_shown(option: str, value: object) -> None:
    assert f"option '{option}': must be a URL" in complaint(**{option: value})
    if option == "storage":
        assert "option 'storages.orders': must be a URL" in complaint(storages={"orders": value})


def test_a_configuration_shows_no_password() -> None:
    config = SiloConfig(storage=URL, membership=URL, storages={"orders": URL})
    assert SECRET not in repr(config) + str(config)
    assert "postgresql://db/shop" in repr(config)


# --- folders and hosts ------------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40).filter(str.strip))
def test_the_name_of_a_data_folder_is_never_a_url(name: str) -> None:
    """Each character means itself, also `%2F`, `#` and `?`."""
    config = SiloConfig(data=Path("here") / name)
    assert path_of(config.membership_url) == Path("here") / name / "cluster.db"
    assert path_of(config.storage_urls["default"]) == Path("here") / name / "state.db"


@pytest.mark.parametrize("folder", ["..", "../sibling", "a/../b", "/", "/tmp/a%20b", "file:", "sqlite:/x", "~", "."])
def test_every_path_of_a_folder_is_itself(folder: str) -> None:
    assert path_of(SiloConfig(data=folder).membership_url) == Path(folder) / "cluster.db"


@pytest.mark.parametrize("folder", ["a\0b", "a\udcffb", "", "  "])
def test_a_folder_that_cannot_be_is_refused(folder: str) -> None:
    assert "option 'data': must be the path of a folder" in complaint(data=folder)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::1", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_has_one_form(given: str, meant: str) -> None:
    assert SiloConfig(host=given).public_host == meant


@pytest.mark.parametrize("host", ["::", "[::]", "0:0::0", "0.0.0.0"])
def test_every_form_of_the_wildcard_is_one(host: str) -> None:
    assert "is a wildcard" in complaint(host=host, insecure=True)
    assert "is a wildcard" in complaint(advertise=host, insecure=True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:80", "http://shop", "a b", "a/b", "127.1", "0", "a\x1b", "-x", "[::1", "a,b"]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    assert "option 'host': must be a host name or an IP address" in complaint(host=host, insecure=True)


@pytest.mark.parametrize("option", ["cluster", "service", "name"])
@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2J", "a\udcff", "a\u202eb"])
def test_a_name_has_no_control_characters(option: str, text: str) -> None:
    assert f"option '{option}': must be one line of text" in complaint(**{option: text})


@pytest.mark.parametrize("option", ["cluster", "service"])
def test_a_name_is_not_blank(option: str) -> None:
    assert "needs a name" in complaint(**{option: " "})


def test_an_error_keeps_the_name_of_its_option() -> None:
    with pytest.raises(OptionError) as caught:
        SiloConfig(port=-1)
    assert caught.value.option == "port"
    assert str(caught.value.given_by("--port")).startswith("option 'port' (--port): must be ")
