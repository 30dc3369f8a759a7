"""`grange reminders` against two real silos: what is due, parked and of one grain; cancel and retry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from grange import Grain, Job, Retry, Tick
from grange.cli.exit_codes import ExitCode
from grange.silo.silo import Silo
from tests.cli.shell import Shell

TOKENS = {
    "admin_token": "the-token-of-admins",
    "operator_token": "the-token-of-operators",
    "viewer_token": "the-token-of-viewers",
}


class Bell(Grain, name="bell"):
    def __init__(self) -> None:
        self.broken = True

    async def start(self, name: str, due: float) -> None:
        await self.reminders.set(name, due, every=3600, payload={"secret": "no"})

    async def give(self) -> str:
        retry = Retry(attempts=1)
        return (await self.jobs.schedule(self.reference, name="mail", retry=retry)).id

    async def give_later(self) -> str:
        return (await self.jobs.schedule(self.reference, 3600)).id

    async def repair(self) -> None:
        self.broken = False

    async def on_reminder(self, tick: Tick) -> None: ...

    async def on_job(self, job: Job) -> None:
        if self.broken:
            raise ValueError("the bell is broken")


@asynccontextmanager
async def beside_two_silos(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    monkeypatch.chdir(folder)
    options: dict[str, Any] = {
        "port": 0, "gateway_port": 0, "membership": "sqlite:///cluster.db", "storage": "sqlite:///state.db", **TOKENS
    }  # fmt: skip
    async with Silo([Bell], name="silo-1", **options) as one, Silo([Bell], name="silo-2", **options) as two:
        async with asyncio.timeout(20):
            for silo in (one, two):
                await silo.wait_for({one.address, two.address})
        yield Shell(one, two, tokens=TOKENS)


async def test_reminders_are_listed_and_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all silos by due time, or of one grain; payloads are not shown; a viewer cannot cancel."""
    async with beside_two_silos(tmp_path, monkeypatch) as shell:
        for number in range(4):
            await shell.silos[0].get_grain(Bell, f"b{number}").start("ring", 100 + number)
        await shell.silos[0].get_grain(Bell, "far").start("ring", 5000)
        listed = await shell.json("reminders")
        assert [row["grain_id"] for row in listed["reminders"]] == [f"bell/b{number}" for number in range(4)]
        assert {row["schedule"] for row in listed["reminders"]} == {"every 3600 s"}
        assert "secret" not in str(listed)
        every = await shell.json("reminders", "--within", "1e9")
        assert len(every["reminders"]) == 5
        one = await shell("reminders", "bell/far")
        assert "ring" in one.stdout
        assert "in 1h" in one.stdout
        words = ("reminders", "bell/far", "--cancel", "ring", "--reason", "a test", "--yes")
        assert (await shell(*words, token="viewer")).exit_code == ExitCode.UNAUTHORIZED
        assert (await shell(*words)).exit_code == 0
        assert "no reminder" in (await shell("reminders", "bell/far")).stdout
        assert (await shell(*words)).exit_code == ExitCode.FAILED


async def test_a_parked_job_is_listed_and_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its error; after the retry it is gone. What has not failed is not retried: it would come early."""
    async with beside_two_silos(tmp_path, monkeypatch) as shell:
        bell = shell.silos[0].get_grain(Bell, "b")
        await bell.start("ring", 1000)
        job = await bell.give()
        row = f"$job/{job}"
        async with asyncio.timeout(20):
            while not (found := (await shell.json("reminders", "--parked"))["reminders"]):
                await asyncio.sleep(0.1)
        assert [(each["name"], each["job"], each["failed"]) for each in found] == [(row, "mail", 1)]
        assert found[0]["error"] == "ValueError: the bell is broken"
        await bell.repair()
        assert (await shell("reminders", "bell/b", "--retry", job, "--yes")).exit_code == 0
        async with asyncio.timeout(20):
            while (await shell.json("reminders", "bell/b"))["reminders"][0]["name"] != "ring":
                await asyncio.sleep(0.1)
        once = await bell.give_later()
        assert once in (await shell("reminders", "bell/b")).stdout
        words = ("reminders", "bell/b", "--cancel", once, "--reason", "a test", "--yes")
        assert (await shell(*words)).exit_code == 0
        assert once not in (await shell("reminders", "bell/b")).stdout
        early = await shell("reminders", "bell/b", "--retry", "ring", "--yes")
        assert early.exit_code == ExitCode.FAILED
        assert "has not failed" in early.stdout
