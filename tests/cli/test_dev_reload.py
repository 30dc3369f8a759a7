"""The parts of the reload of `grange dev`, with processes that are stand-ins: output, successors, watched files."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from grange.cli import local_silo
from grange.cli.changed_files import changes, version_of
from grange.cli.dev import DevOptions, LocalCluster
from grange.cli.dev_folder import dev_folder
from grange.cli.local_silo import STOP_SIGNAL, LocalSilo, SiloProcess

ACTIVE = (
    b'{"event":"active","address":"127.0.0.1:1:2","gateway":"127.0.0.1:3","road":"grpc","http":"127.0.0.1:4",'
    b'"cluster":"c","name":"one","pid":1}\n'
)


class StandIn(asyncio.SubprocessTransport):
    """A process that does what the test tells."""

    def __init__(self, process: SiloProcess) -> None:
        super().__init__()
        self.process = process
        self.returncode: int | None = None
        self.signals: list[int] = []
        process.connection_made(self)

    def writes(self, data: bytes) -> None:
        self.process.pipe_data_received(1, data)

    def imports(self) -> None:
        self.writes(b'{"event":"imported","files":["/app/shop.py"]}\n')

    def joins(self) -> None:
        self.writes(ACTIVE)

    def ends(self, code: int) -> None:
        self.returncode = code
        self.process.process_exited()
        self.process.connection_lost(None)

    def get_returncode(self) -> int | None:
        return self.returncode

    def get_pipe_transport(self, fd: int) -> None:
        return None

    def send_signal(self, signal: int) -> None:
        self.signals.append(signal)

    def kill(self) -> None:
        self.ends(-9)

    def close(self) -> None:
        pass


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """The processes that were started, the oldest first."""
    processes: list[StandIn] = []

    async def start(_: Sequence[str], show: Callable[[str], None]) -> SiloProcess:
        processes.append(StandIn(SiloProcess(show)))
        return processes[-1].process

    monkeypatch.setattr(SiloProcess, "start", staticmethod(start))
    return processes


def silo(lines: list[str]) -> LocalSilo:
    return LocalSilo("one", 1, 2, 3, lambda _, text: lines.append(text))


async def test_json_lines_of_the_application_are_output_and_no_events() -> None:
    lines = [
        '{"event": "imported", "rows": 5}',
        '{"event": "active"}',
        '{"event": ["x"]}',
        "{}",
        '{"event": "imported"}',
    ]
    shown: list[str] = []
    taken = SiloProcess(shown.append)
    process = StandIn(taken)
    process.writes("\n".join(lines).encode() + b"\n")
    assert shown == lines
    assert not taken.imported.is_set()
    assert not taken.active.is_set()
    process.imports()
    process.joins()
    process.ends(0)
    assert await taken.ended == 0
    assert taken.files.keys() == {Path("/app/shop.py")}
    assert shown == lines


async def test_output_without_an_end_of_line_is_shown_in_parts() -> None:
    shown: list[str] = []
    taken = SiloProcess(shown.append)
    process = StandIn(taken)
    for _ in range(10):
        process.writes(b"." * 50_000)
    assert sum(map(len, shown)) >= 400_000
    process.ends(0)
    await taken.ended
    assert "".join(shown) == "." * 500_000


@pytest.mark.skipif(os.name != "posix", reason="it needs a shell")
async def test_a_process_is_over_although_one_that_it_started_holds_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is over a moment after its exit; what it wrote before is shown."""
    monkeypatch.setattr(local_silo, "PIPES_GRACE", 0.05)
    shown: list[str] = []
    loop = asyncio.get_running_loop()
    _, taken = await loop.subprocess_exec(lambda: SiloProcess(shown.append), "sh", "-c", "sleep 60 & echo $!; exit 3")
    async with asyncio.timeout(20):
        assert await taken.ended == 3
    assert taken.is_over
    os.kill(int(shown[0]), signal.SIGKILL)


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "grange-dev-killed"
    left.mkdir()
    (left / "lock").touch()
    (tmp_path / "grange-dev-of-another-program").mkdir()
    with dev_folder() as running, dev_folder() as other:
        assert not left.exists()
        assert sorted(tmp_path.iterdir()) == sorted([running, other, tmp_path / "grange-dev-of-another-program"])
    assert [path.name for path in tmp_path.iterdir()] == ["grange-dev-of-another-program"]


async def test_a_successor_that_cannot_join_is_followed_by_the_next_reload(started: list[StandIn]) -> None:
    lines: list[str] = []
    local = silo(lines)
    running = asyncio.create_task(local.run([]))
    await settle()
    started[0].joins()
    await settle()
    reload = asyncio.create_task(local.reload([]))
    await settle()
    started[1].imports()
    await settle()
    assert started[0].signals == [STOP_SIGNAL]
    started[0].ends(0)
    await settle()
    started[1].ends(2)  # such as an option that does not hold
    assert not await reload
    await settle()
    assert not running.done()

    reload = asyncio.create_task(local.reload([]))
    await settle()
    started[2].imports()
    await settle()
    started[2].joins()
    assert await reload
    local.stop()
    local.stop()
    assert started[2].signals == [STOP_SIGNAL]
    started[2].ends(0)
    assert await running == 0


async def test_a_stop_ends_a_silo_whose_successor_could_not_join(started: list[StandIn]) -> None:
    local = silo([])
    running = asyncio.create_task(local.run([]))
    await settle()
    started[0].joins()
    await settle()
    reload = asyncio.create_task(local.reload([]))
    await settle()
    started[1].imports()
    await settle()
    started[0].ends(0)
    await settle()
    started[1].ends(2)
    assert not await reload
    local.stop()
    assert await running == 2


async def test_a_stop_during_the_drain_of_a_reload_sends_no_second_signal(started: list[StandIn]) -> None:
    local = silo([])
    running = asyncio.create_task(local.run([]))
    await settle()
    started[0].joins()
    await settle()
    reload = asyncio.create_task(local.reload([]))
    await settle()
    started[1].imports()
    await settle()
    reload.cancel()
    await asyncio.wait((reload,))
    local.stop()
    assert started[0].signals == [STOP_SIGNAL]
    assert started[1].returncode == -9
    started[0].ends(0)
    assert await running == 0


async def test_a_silo_that_dies_while_its_successor_imports_has_failed(started: list[StandIn]) -> None:
    local = silo([])
    running = asyncio.create_task(local.run([]))
    await settle()
    started[0].joins()
    await settle()
    reload = asyncio.create_task(local.reload([]))
    await settle()
    started[0].ends(13)
    await settle()
    started[1].imports()
    assert not await reload
    assert started[1].returncode == -9
    assert await running == 13


async def test_a_silo_that_ends_during_a_reload_does_not_end_the_reload_of_the_others(
    started: list[StandIn], tmp_path: Path
) -> None:
    lines: list[str] = []
    options = DevOptions("app:silo", ["one", "two", "three"], tmp_path, "info")
    cluster = LocalCluster(options, lambda _, text: lines.append(text))
    tasks = [asyncio.create_task(each.run([])) for each in cluster._silos]
    cluster._running = dict(zip(tasks, cluster._silos, strict=True))
    await settle()
    for process in started:
        process.joins()
    await settle()
    reload = asyncio.create_task(cluster._reload("shop.py", []))
    await settle()
    started[1].ends(13)
    await asyncio.wait((tasks[1],))
    del cluster._running[tasks[1]]
    for old, successor in ((0, 3), (2, 4)):
        started[successor].imports()
        await settle()
        started[old].ends(0)
        await settle()
        started[successor].joins()
        await settle()
    await reload
    assert any(line.startswith("reloaded after") for line in lines)
    for number in (3, 4):
        started[number].ends(0)
    await asyncio.wait(tasks)


async def test_a_file_that_changes_between_two_watches_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first change brings a new file. While its reload runs, the old watch ends, and a file is saved."""

    async def awatch(*_: Path, **__: Any) -> AsyncGenerator[set[Any]]:
        while True:
            yield set()
            await asyncio.sleep(0)

    monkeypatch.setattr("watchfiles.awatch", awatch)
    monkeypatch.chdir(tmp_path)
    old, new = tmp_path / "old.py", tmp_path / "new.py"
    old.write_text("1")
    new.write_text("1")
    files = {old: version_of(old)}
    batches = changes(lambda: files)

    async def save(text: str) -> set[Path]:
        coming = asyncio.ensure_future(anext(batches))
        await settle()
        old.write_text(text)
        return await coming

    async with asyncio.timeout(10):
        old.write_text("0123")  # after the import, before the watch begins
        assert await anext(batches) == {old}
        assert await save("12") == {old}
        files = {old: version_of(old), new: version_of(new)}
        old.write_text("123")
        os.utime(old, ns=(1, 1))
        assert await anext(batches) == {old}
        new.write_text("12")
        assert await anext(batches) == {new}
    await batches.aclose()
