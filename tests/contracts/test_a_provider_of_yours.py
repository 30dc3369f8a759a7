"""The template of docs/writing-a-provider.md: found by its entry point, it passes the suite that grange ships."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from grange import Grain, PersistentState
from grange.client import Client
from grange.errors import ConfigurationError, StorageUnavailable
from grange.silo import Silo
from grange.storage.options import StorageOptions
from grange.storage.urls import open_storage as open_url
from grange.testing.contracts.storage import OpenStorage, StorageContract
from grange.testing.contracts.storage_samples import ANN

TEMPLATE = Path(__file__).parents[2] / "examples" / "provider"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The template as pip would install it: its module, and the metadata with its entry points."""
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(TEMPLATE)
    yield
    sys.modules.pop("grange_files", None)


class TestTemplate(StorageContract):
    @pytest.fixture
    def open_storage(self, tmp_path: Path) -> OpenStorage:
        return lambda service: open_url(f"files:///{tmp_path}/data", service)


class Count(msgspec.Struct):
    value: int = 0


class Tally(Grain):
    def __init__(self, count: PersistentState[Count]) -> None:
        self.count = count

    async def add(self) -> int:
        self.count.value.value += 1
        await self.count.write()
        return self.count.value.value


async def test_a_silo_keeps_its_state_there(tmp_path: Path) -> None:
    url = f"files:///{tmp_path}/data"
    for expected in (1, 2):
        silo = Silo(grains=[Tally], port=0, gateway_port=0, data=tmp_path / "silo", storage=url)
        async with silo, Client([silo.gateway]) as client:
            assert await client.get_grain(Tally, "ann").add() == expected


async def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnavailable):
        async with open_url(f"files:///{tmp_path}/file", "svc"):
            pass
    for url in ("files://host/folder", "files:///", "files:///folder?a=1"):
        with pytest.raises(ConfigurationError, match="files:///folder"):
            async with open_url(url, "svc"):
                pass


async def test_a_lock_that_another_process_holds_is_an_outage(tmp_path: Path) -> None:
    """In time, and nothing is changed; afterwards it works again."""
    url = f"files:///{tmp_path}/data"
    holding = (
        "import fcntl, sys; from pathlib import Path\n"
        "lock = open(next(Path(sys.argv[1]).glob('*/lock')), 'a'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    async with open_url(url, "svc", StorageOptions(operation_timeout=0.2, connect_timeout=0.2)) as storage:
        etag = await storage.write(ANN, "s", b"1", None)
        pipe = asyncio.subprocess.PIPE
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", holding, str(tmp_path / "data"), stdin=pipe, stdout=pipe
        )
        assert other.stdout is not None
        await other.stdout.readline()
        with pytest.raises(StorageUnavailable):
            await storage.write(ANN, "s", b"2", etag)
        await other.communicate(b"")
        assert await storage.write(ANN, "s", b"2", etag) == "2"
