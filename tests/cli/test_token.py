"""Which token a command sends: that of a silo of this user at the gateway, from any folder, and to no other program."""

from __future__ import annotations

from pathlib import Path

import pytest

from grange import Grain
from grange.admin_token import make_admin_token, read_admin_token
from grange.cli.here import Here
from grange.cli.token import find_token
from grange.local_records import recorded_gateway
from grange.silo import Silo

GATEWAY = "127.0.0.1:30000"
FOREIGN = "10.0.0.5:30000"


class Cart(Grain):
    async def touch(self) -> None: ...


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)


def here(data: Path, token: str = "") -> Here:
    return Here("default", "127.0.0.1", 30000, "", "", "data", "", str(data), token)


@pytest.mark.servers
async def test_a_running_silo_is_found_from_another_folder(tmp_path: Path) -> None:
    silo = Silo([Cart], port=0, gateway_port=0, probe_port=0, data=tmp_path / "data")
    async with silo:
        gateway = silo.gateway
        assert find_token(here(tmp_path / "elsewhere"), "", [gateway], False) == read_admin_token(tmp_path / "data")
    assert find_token(here(tmp_path / "elsewhere"), "", [gateway], False) == ""


@pytest.mark.servers
async def test_a_silo_with_a_configured_token_leaves_no_record(tmp_path: Path) -> None:
    make_admin_token(tmp_path / "data")
    options = {"port": 0, "gateway_port": 0, "probe_port": 0, "data": tmp_path / "data"}
    async with Silo([Cart], admin_token="a-token-of-an-option", **options) as silo:
        assert find_token(here(tmp_path / "elsewhere"), "", [silo.gateway], False) == ""


def test_the_folder_of_the_silo_comes_before_that_of_the_command(tmp_path: Path) -> None:
    token, own = make_admin_token(tmp_path / "data"), make_admin_token(tmp_path / "own")
    with recorded_gateway(GATEWAY, tmp_path / "data"):
        assert find_token(here(tmp_path / "own"), "", [GATEWAY], False) == token
        assert find_token(here(tmp_path / "own"), "", [GATEWAY], True) == own
        assert find_token(here(tmp_path / "own", "of-an-option"), "", [GATEWAY], False) == "of-an-option"
    assert find_token(here(tmp_path / "own"), "", [GATEWAY], False) == own


def test_no_token_goes_to_another_machine_beside_the_silo(tmp_path: Path) -> None:
    make_admin_token(tmp_path / "data")
    make_admin_token(tmp_path / "own")
    with recorded_gateway(GATEWAY, tmp_path / "data"):
        assert find_token(here(tmp_path / "own"), "", [GATEWAY, FOREIGN], False) == ""
