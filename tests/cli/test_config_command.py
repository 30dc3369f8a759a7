"""`grange config`: what is in force, where it comes from, and what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from grange.cli.commands import main
from grange.cli.exit_codes import ExitCode
from grange.silo.config import SiloConfig
from grange.silo.option_tables import TABLES

SHOP = """
from grange import Grain
from grange.silo import Silo

class Cart(Grain, name="cart"):
    async def add(self) -> int:
        return 1

silo = Silo(grains=[Cart], cluster="shop", runtime={"idle_timeout": 60.0})
empty = Silo(grains=[])
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, so that no configuration of this machine is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "configured_shop.py").write_text(SHOP)
    yield tmp_path
    sys.modules.pop("configured_shop", None)


def config(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["config", *arguments])


def shown(*arguments: str) -> dict[str, tuple[Any, str]]:
    result = config("show", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return {each["name"]: (each["value"], each["source"]) for each in json.loads(result.stdout)}


def test_each_option_is_shown_with_its_value_and_its_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "grange.toml").write_text("port = 1\n[runtime]\nmailbox_limit = 7\n")
    monkeypatch.setenv("GRANGE_GATEWAY_PORT", "2")
    monkeypatch.setenv("GRANGE_RUNTIME__COLLECT_PERIOD", "3")
    monkeypatch.setenv("GRANGE_DIRECTORY", '{"cache_size": 50}')
    assert shown("configured_shop:silo") == {
        "cluster": ("shop", "the code"),
        "runtime.idle_timeout": (60.0, "the code"),
        "port": (1, "grange.toml"),
        "runtime.mailbox_limit": (7, "grange.toml"),
        "gateway_port": (2, "GRANGE_GATEWAY_PORT"),
        "runtime.collect_period": (3.0, "GRANGE_RUNTIME__COLLECT_PERIOD"),
        "directory.cache_size": (50, "GRANGE_DIRECTORY"),
    }


def test_all_options_of_all_tables_are_shown() -> None:
    tables = [f"{table}.{name}" for table, kind in TABLES.items() for name in kind.__struct_fields__]
    assert sorted(shown("--all")) == sorted([*(set(SiloConfig.model_fields) - set(TABLES)), *tables])
    assert {source for _, source in shown("--all").values()} == {"default"}


def test_passwords_are_hidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANGE_STORAGE", "postgresql://ann:canary@db/shop")
    (folder / "membership").write_text("redis://:canary@cache")
    monkeypatch.setenv("GRANGE_MEMBERSHIP_FILE", str(folder / "membership"))
    monkeypatch.setenv("GRANGE_STORAGES", '{"orders": "postgresql://ann:canary@db/orders"}')
    for arguments in ("show",), ("show", "--json"), ("show", "--all"), ("check",):
        result = config(*arguments)
        assert result.exit_code == 0
        assert "canary" not in result.output
    assert "postgresql://db/shop" in config("show").output
    assert "GRANGE_MEMBERSHIP_FILE" in config("show").output


def test_a_right_configuration_is_called_right() -> None:
    assert "all of them defaults" in config("check").output
    result = config("check", "configured_shop:silo")
    assert result.exit_code == 0
    assert "2 set by the code" in result.output


@pytest.mark.parametrize(
    ("toml", "named"),
    [("prot = 1", "port"), ("[runtime]\nidle = 3", "runtime.idle"), ("drain_timeout = -1", "drain_timeout")],
)
def test_a_wrong_configuration_is_named(folder: Path, toml: str, named: str) -> None:
    (folder / "grange.toml").write_text(toml)
    result = config("check")
    assert result.exit_code == ExitCode.USAGE
    assert named in result.output


def test_a_silo_that_cannot_start_is_found_by_the_check() -> None:
    result = config("check", "configured_shop:empty")
    assert result.exit_code == ExitCode.USAGE
    assert "at least one grain class" in result.output


def test_the_schema_knows_each_option_and_refuses_others() -> None:
    schema = json.loads(config("schema").stdout)
    assert set(schema["properties"]) == set(SiloConfig.model_fields)
    assert schema["additionalProperties"] is False
    for name, kind in TABLES.items():
        table = schema["properties"][name]
        assert set(table["properties"]) == set(kind.__struct_fields__)
        assert table["additionalProperties"] is False
        for key, default in msgspec.structs.asdict(kind()).items():
            assert table["properties"][key]["default"] == (list(default) if isinstance(default, tuple) else default)
            assert table["properties"][key]["description"]
    assert all(field["description"] for field in schema["properties"].values())
    assert schema["properties"]["port"]["maximum"] == 65535
