"""`grange migrate`: the owner makes the tables, so that silos with fewer rights start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grange.cli.commands import main
from grange.cli.process import ExitCode
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
        assert "membership, storage default: postgresql://" in done.output
        await database.grant()
        environment = ConfiguredEnvironment(SiloConfig(membership=database.app, storage=database.app))
        async with environment.table(), environment.storages():
            pass


async def test_embedded_files_are_made(tmp_path: Path) -> None:
    done = await run()
    assert done.exit_code == 0, done.output
    assert (tmp_path / ".grange" / "state.db").exists()
