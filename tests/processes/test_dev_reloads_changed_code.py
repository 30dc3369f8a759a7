"""`grange dev` reloads its silos when a file changes: one after another, with a drain, and only for code that works."""

from __future__ import annotations

import asyncio
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from grange import Grain, PersistentState
from grange.client import Client
from tests.processes.silo_process import Process, Silos

pytestmark = pytest.mark.processes

SHOP = """
from grange import Grain, PersistentState
from grange.silo import Silo
from steps import STEP

class Cart(Grain, name="cart"):
    def __init__(self, total: PersistentState[int]) -> None:
        self.total = total

    async def add(self) -> int:
        self.total.value += STEP
        await self.total.write()
        return self.total.value

silo = Silo(grains=[Cart])
"""


class Cart(Grain, name="cart"):
    """The grain of `SHOP`, as its clients see it."""

    def __init__(self, total: PersistentState[int]) -> None:
        self.total = total

    async def add(self) -> int:
        """Add a step to the stored total."""
        raise NotImplementedError


@pytest.fixture
async def dev(silos: Silos) -> Process:
    """A cluster of two silos in development."""
    (silos.folder / "shop.py").write_text(SHOP)
    write_step(silos.folder, "1")
    return await silos.command("dev", "shop:silo")


def write_step(folder: Path, step: str) -> None:
    (folder / "steps.py").write_text(f"STEP = {step}\n")


async def gateways_of(dev: Process) -> list[str]:
    lines = [await dev.output_line(f"silo-{number} | active; clients reach it at") for number in (1, 2)]
    await dev.output_line("Ctrl-C stops all.")
    return [line.split()[-1] for line in lines]


async def test_a_changed_file_reloads_all_silos_without_a_failed_call(silos: Silos, dev: Process) -> None:
    """Grains are called all the time; each call succeeds, and state is kept."""
    async with Client(await gateways_of(dev)) as client:
        ends = asyncio.Event()

        async def call(key: str) -> list[int]:
            answers = [0]
            while not ends.is_set():
                answers.append(await client.get_grain(Cart, key).add())
            return answers

        callers = [asyncio.create_task(call(str(number))) for number in range(8)]
        write_step(silos.folder, "1000")
        await dev.output_line("steps.py changed: reloading")
        await dev.output_line("reloaded after")
        total = await client.get_grain(Cart, "0").add()
        ends.set()
        for answers in await asyncio.gather(*callers):
            steps = {after - before for before, after in pairwise(answers)}
            assert steps <= {1, 1000, 1001, 2000}  # key 0 is called by the test, too
            assert answers[-1] > 0
        assert total >= 1000
    dev.signal(signal.SIGINT)
    assert await dev.ended() == 0


async def test_code_that_cannot_be_imported_leaves_the_old_silos_running(silos: Silos, dev: Process) -> None:
    async with Client(await gateways_of(dev)) as client:
        cart = client.get_grain(Cart, "ann")
        assert await cart.add() == 1
        write_step(silos.folder, "(")
        await dev.output_line("silo-1 | error: the module 'shop' cannot be imported: SyntaxError")
        await dev.output_line("silo-1 was not reloaded")
        assert await cart.add() == 2
        write_step(silos.folder, "10")
        await dev.output_line("reloaded after")
        assert await cart.add() == 12
    dev.signal(signal.SIGINT)
    assert await dev.ended() == 0


async def test_a_stop_in_the_middle_of_a_reload_leaves_no_process(silos: Silos, dev: Process) -> None:
    await gateways_of(dev)
    (silos.folder / "steps.py").write_text("import time\ntime.sleep(60)\nSTEP = 2\n")
    await dev.output_line("steps.py changed: reloading")
    dev.signal(signal.SIGINT)
    assert await dev.ended() == 0  # its output ends when that of its silos ends


async def test_a_command_runs_beside_the_silos_and_ends_with_them(silos: Silos) -> None:
    dev = await silos.command("dev", "--silos", "1", "--with", "echo feeding {gateways}; exec sleep 60")
    gateway = (await dev.output_line("silo-1 | active; clients reach it at")).split()[-1]
    assert await dev.output_line("feeding") == f"feeding {gateway}"
    dev.signal(signal.SIGINT)
    assert await dev.ended() == 0
