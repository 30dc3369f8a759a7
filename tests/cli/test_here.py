"""A client command reads the configuration of this machine's silo as the silo does, or leaves it to the silo's code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from grange.cli.configured_here import configured_here
from grange.cli.here import plain_here
from grange.errors import ConfigurationError, OptionError
from grange.silo.config import SiloConfig


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


TEXTS = st.sampled_from([
    "", " ", "shop", "0", "007", "30001", "65536", "-1", "1.5", "true", "True", "yes", "127.0.0.1", "::1", "[::1]",
    "0:0:0:0:0:0:0:1", "a.example", "a_b", "1.2.3", "a:1", "redis://cache/0", "sqlite:///c.db", "postgresql://u:p@h/d",
    "nonsense", "http://x", "redis://", "a\nb", "é", "{}", "[]", '{"a": "redis://h"}', "/nowhere",
])  # fmt: skip
NAMES = st.sampled_from([*SiloConfig.model_fields, "prot", "cluster_file", "runtime__idle_timeout", "storages__a"])
VALUES = TEXTS | st.sampled_from([True, False, 0, 1, 30001, 70000, -1, 1.5, [], ["a"], {}, {"idle_timeout": 5}])


def in_toml(value: Any) -> str:
    return json.dumps(value).replace('":', '" =')


@contextmanager
def configured(variables: dict[str, str], file: dict[str, Any]) -> Iterator[None]:
    """Set variables of the environment and write a file."""
    names = {f"GRANGE_{name.upper()}": value for name, value in variables.items()}
    Path("grange.toml").unlink(missing_ok=True)
    if file:
        Path("grange.toml").write_text("".join(f"{name} = {in_toml(value)}\n" for name, value in file.items()))
    os.environ.update(names)
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(NAMES, TEXTS, max_size=3),
    st.dictionaries(NAMES, VALUES, max_size=2),
    st.dictionaries(st.sampled_from(["cluster", "membership"]), TEXTS),
)
@example({"host": "::1", "gateway_port": "0"}, {"data": "x", "insecure": True}, {"cluster": "orange"})
@example({"data": "here"}, {"membership": "redis://cache/0"}, {"membership": "sqlite:///mine.db"})
@example({}, {"port": True}, {})
def test_what_is_read_plainly_is_what_a_silo_reads(
    variables: dict[str, str], file: dict[str, Any], given: dict[str, str]
) -> None:
    with configured(variables, file):
        here = plain_here(given)
        if here is not None:
            assert here == configured_here(given)


@pytest.mark.parametrize(
    ("variables", "file", "given"),
    [
        ({}, {}, {}),
        ({}, {}, {"cluster": "orange", "membership": "redis://cache/0"}),
        ({"cluster": "orange", "host": "0.0.0.0", "advertise": "silo-1.example", "gateway_port": "30001"}, {}, {}),
        ({"membership": "postgresql://u:p@db/grange", "storage": "redis://cache/1", "insecure": "true"}, {}, {}),
        ({}, {"cluster": "orange", "gateway_port": 30001, "data": "/var/lib/grange"}, {}),
    ],
)
def test_usual_configurations_are_read_plainly(
    variables: dict[str, str], file: dict[str, Any], given: dict[str, str]
) -> None:
    with configured(variables, file):
        assert plain_here(given) == configured_here(given)


def test_a_file_that_is_not_plain_to_read_is_left_to_the_silo(tmp_path: Path) -> None:
    Path("grange.toml").symlink_to(tmp_path / "elsewhere.toml")
    assert plain_here({}) is None
    Path("grange.toml").unlink()
    Path("grange.toml").mkdir()
    assert plain_here({}) is None
    Path("grange.toml").rmdir()
    Path("grange.toml").write_text("#" * 100_000)
    assert plain_here({}) is None


def test_an_error_names_the_variable_of_the_table() -> None:
    with configured({"membership": "redis://cache/0"}, {}):
        here = plain_here({})
        assert here is not None
        with (
            pytest.raises(OptionError, match=r"option 'membership' \(GRANGE_MEMBERSHIP\): no such table"),
            here.naming(),
        ):
            raise ConfigurationError("no such table")
