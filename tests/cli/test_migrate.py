"""`grange migrate`: the owner makes the tables, so that silos with fewer rights start."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grange.cli.commands import main
from grange.cli.process import ExitCode
from grange.databases.migrations import shipped_migrations
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from tests.databases.test_postgres_rights import a_role


@pytest.fixture(autouse=True)
def _an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def run(*arguments: str) -> Result:
    """Run the command outside of this test's event loop."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["migrate", *arguments])


async def test_the_owner_migrates_and_the_silo_starts(postgres_url: str) -> None:
    async with a_role(postgres_url) as database:
        arguments = ("--membership", database.app, "--storage", database.app)
        refused = await run(*arguments)
        assert refused.exit_code == ExitCode.USAGE
        assert "run `grange migrate` once" in refused.output
        done = await run(*(each.replace(f"{database.role}@", "postgres@") for each in arguments))
        assert done.exit_code == 0, done.output
        assert "membership" in done.output
        assert "is up to date: migrated from 0" in done.output
        await database.grant()
        environment = ConfiguredEnvironment(SiloConfig(membership=database.app, storage=database.app))
        async with environment.table(), environment.storages():
            pass


async def test_embedded_files_are_made(tmp_path: Path) -> None:
    done = await run()
    assert done.exit_code == 0, done.output
    assert (tmp_path / ".grange" / "state.db").exists()


async def test_a_check_changes_nothing(tmp_path: Path) -> None:
    """It fails while tables are missing, and a deployment can wait for that."""
    checked = await run("--check")
    assert checked.exit_code == ExitCode.FAILED
    assert "tables are missing" in checked.output
    assert not (tmp_path / ".grange").exists()
    await run()
    checked = await run("--check")
    assert checked.exit_code == 0
    assert "is up to date" in checked.output


async def test_programs_read_the_versions(tmp_path: Path) -> None:
    urls = ("--membership", f"sqlite:///{tmp_path}/one.db", "--storage", f"sqlite:///{tmp_path}/one.db")
    newest = len(shipped_migrations("grange.storage", "sqlite"))
    for arguments, migrated in ((("--check",), False), ((), True), ((), False)):
        answer = json.loads((await run(*urls, *arguments, "--json")).output)
        assert [(each["stores"], each["component"]) for each in answer] == [
            (["membership"], "membership"),
            (["storage default"], "storage"),
        ]
        assert [each["migrated"] for each in answer] == [migrated, migrated]
        assert answer[1]["version"] == newest
        assert answer[1]["found"] == (newest if not migrated and not arguments else 0)
        assert answer[1]["up_to_date"] == (not arguments)
        assert answer[1]["place"] == f"sqlite:///{tmp_path}/one.db"


async def test_a_store_without_tables_is_said_to_have_none() -> None:
    answer = json.loads((await run("--storage", "memory://", "--check", "--json")).output)
    assert (answer[1]["found"], answer[1]["version"], answer[1]["up_to_date"]) == (None, None, True)


@pytest.mark.parametrize("arguments", [(), ("--check",)])
async def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Neither a check nor a migration touches it, nor the table of the other store."""
    path = tmp_path / "state.db"
    await run("--storage", f"sqlite:///{path}", "--membership", "memory://")
    newest = len(shipped_migrations("grange.storage", "sqlite"))
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("INSERT INTO grange_schema VALUES ('storage', ?, 'later')", (newest + 1,))
    other = tmp_path / "cluster.db"
    refused = await run("--membership", f"sqlite:///{other}", "--storage", f"sqlite:///{path}", *arguments)
    assert refused.exit_code == ExitCode.USAGE
    assert f"at schema version {newest + 1}, this grange knows up to {newest}" in refused.output
    assert "--storage" in refused.output
    assert not other.exists()


async def test_a_store_that_is_away_has_its_own_exit_code() -> None:
    """A supervisor tries again later."""
    refused = await run("--storage", "postgresql://127.0.0.1:1/shop", "--check")
    assert refused.exit_code == ExitCode.STORE_UNUSABLE
    assert "storage default" in refused.output


async def test_processes_that_migrate_a_file_at_once_agree(tmp_path: Path) -> None:
    await migrate_at_once(f"sqlite:///{tmp_path}/state.db")


async def test_processes_that_migrate_postgres_at_once_agree(postgres_url: str) -> None:
    await migrate_at_once(postgres_url)


async def migrate_at_once(url: str) -> None:
    """Each version is applied once, and each process ends well."""
    command = (sys.executable, "-m", "grange", "migrate", "--membership", url, "--storage", url, "--json")
    processes = [await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE) for _ in range(3)]
    async with asyncio.timeout(60):
        outputs = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    checked = json.loads((await run("--membership", url, "--storage", url, "--check", "--json")).output)
    assert [each["found"] for each in checked] == [each["version"] for each in checked]
