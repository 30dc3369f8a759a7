"""The checks of the stores of a running silo: bounded in time and number, and none of them writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from grange import Grain
from grange.databases.findings import bad, ok
from grange.proto.ids import SiloAddress
from grange.silo.silo import Silo
from grange.silo.store_answers import KEPT, TIMEOUT, StoreAnswers
from grange.silo.store_checks import StoreReport
from grange.testing.loop import clock_of_loop

HERE = SiloAddress("h", 1, 1)


class Cart(Grain):
    async def touch(self) -> None: ...


async def test_one_check_is_made_for_all_who_ask_within_a_minute() -> None:
    with clock_of_loop(virtual=True) as time:
        assert time is not None
        made: list[float] = []

        async def check() -> list[StoreReport]:
            made.append(time.time())
            await asyncio.sleep(1)
            return [StoreReport(("membership",), "redis://db", (ok("role", "master"), bad("INFO", "no", "grant it")))]

        answers = StoreAnswers(HERE, check, {})
        both = await asyncio.gather(answers.check(), answers.check())
        assert [[(row.uses, row.level, row.subject) for row in each.rows] for each in both] == [
            [("membership", "ok", "role"), ("membership", "bad", "INFO")]
        ] * 2
        assert len(made) == 1
        await time.advance(KEPT + 1)
        await answers.check()
        assert len(made) == 2


async def test_a_check_that_hangs_is_a_finding() -> None:
    with clock_of_loop(virtual=True) as time:
        assert time is not None

        async def check() -> list[StoreReport]:
            await asyncio.Event().wait()
            return []

        (row,) = (await StoreAnswers(HERE, check, {}).check()).rows
        assert (row.level, row.found) == ("bad", f"it did not end within {TIMEOUT:g} s")


async def test_a_running_silo_tells_about_its_stores_and_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Silo([Cart], port=0, gateway_port=0, storage="memory://") as silo:
        rows = {row.uses: row for row in (await silo.control.stores.check()).rows}
        assert rows["membership"].found.startswith("grange doctor reads the whole file")
        assert rows["storage default"].found == "there is none for this kind of store"
        steps = silo.control.setup.setup().start
        assert [step.name for step in steps] == [
            "open the ports", "open the stores and services", "open telemetry", "make the parts",
            "read the membership table", "join", "start the application's services",
        ]  # fmt: skip
        assert all(step.seconds >= 0 for step in steps)
