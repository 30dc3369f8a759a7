"""A turn that never yields ends the process of its silo, and does not hold up a person who stops it."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from grange import CallError
from grange.client import Client
from tests.processes.counters import Probe
from tests.processes.silo_process import SiloProcess, Silos

QUICK = {"GRANGE_MEMBERSHIP_OPTIONS__DEAD_LOOP_AFTER": "2"}
"""Seconds in place of a minute; the smallest value that is allowed."""


async def spin(silo: SiloProcess) -> None:
    """Have a grain of this silo never yield again."""
    async with Client([silo.gateway], response_timeout=0.2) as client:
        with suppress(CallError):
            await client.get_grain(Probe, "mad").spin()
    await silo.output_line("spinning mad")


async def probe(place: str, path: str) -> int:
    """Ask the admin port of a silo."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://{place}{path}")).status_code


def first_frame(message: str) -> str:
    return next(line for line in message.splitlines() if line.lstrip().startswith("File "))


async def test_it_ends_with_its_own_exit_code_and_the_stack_in_its_log(silos: Silos) -> None:
    silo = await silos.run(**QUICK)
    await spin(silo)
    assert await silo.ended() == 7, silo.errors
    line = json.loads(await silo.log_line("loop_dead"))
    assert (line["event"], line["level"]) == ("loop_dead", "error")
    assert first_frame(line["msg"]).endswith("in spin")
    assert "in _compute" in line["msg"]
    assert line["msg"].endswith("the process ends with code 7")
    assert "Traceback" not in silo.errors


async def test_a_process_that_was_stopped_for_longer_goes_on(silos: Silos) -> None:
    """SIGSTOP, a paused machine: no turn is to blame."""
    silo = await silos.run(**QUICK)
    async with Client([silo.gateway]) as client:
        assert await client.get_grain(Probe, "a").pid() == silo.pid
        silo.signal(signal.SIGSTOP)
        await asyncio.sleep(4)
        silo.signal(signal.SIGCONT)
        await silo.log_line("silo_stood_still")
        assert await client.get_grain(Probe, "a").pid() == silo.pid
    assert await silo.stop() == 0
    assert "loop_dead" not in silo.errors


async def test_the_option_leaves_the_process_alone(silos: Silos) -> None:
    silo = await silos.start("--http", "0", GRANGE_EXIT_ON_DEAD_LOOP="false", **QUICK)
    place = (await silo.active())["http"]
    assert await probe(place, "/livez") == 200
    await spin(silo)
    line = json.loads(await silo.log_line("loop_dead"))
    assert first_frame(line["msg"]).endswith("in spin")
    assert silo.running
    assert await probe(place, "/livez") == 503
    assert await probe(place, "/startupz") == 200
    assert await probe(place, "/metrics") == 200


async def test_an_interrupt_ends_a_silo_that_does_not_react(silos: Silos) -> None:
    """Long before `dead_loop_after`."""
    silo = await silos.run()
    await spin(silo)
    silo.signal(signal.SIGINT)
    assert await silo.ended() == 7, silo.errors
    line = json.loads(await silo.log_line("loop_dead"))
    assert line["msg"].startswith("the event loop did not react to the request to stop within 2.5 s")
    assert first_frame(line["msg"]).endswith("in spin")
    assert "Traceback" not in silo.errors


@pytest.mark.parametrize("mad", [0, 1])
async def test_an_interrupt_ends_dev_and_all_its_silos(silos: Silos, mad: int) -> None:
    dev = await silos.command("dev", "tests.processes.counters:silo")
    lines = [await dev.output_line(f"silo-{number} | active; clients reach it at") for number in (1, 2)]
    await dev.output_line("silo-1, silo-2: one cluster")
    async with Client([line.split()[-1] for line in lines], response_timeout=0.2) as client:
        calls = [client.get_grain(Probe, f"probe-{number}").pid() for number in range(20)]
        pids = sorted(set(await asyncio.gather(*calls)))
        assert len(pids) == 2
        key = await _key_on(client, pids[mad])
        with suppress(CallError):
            await client.get_grain(Probe, key).spin()
    dev.signal(signal.SIGINT)
    assert await dev.ended() == 0
    assert any("exit code 7" in line for line in dev.printed), dev.printed
    assert [_runs(pid) for pid in pids] == [False, False]
    assert "Traceback" not in dev.errors + "".join(dev.printed)


async def test_a_second_interrupt_ends_dev_and_its_silos_at_once(silos: Silos) -> None:
    dev = await silos.command("dev", "tests.processes.counters:silo", "--silos", "1", GRANGE_DRAIN_TIMEOUT="60")
    gateway = (await dev.output_line("silo-1 | active; clients reach it at")).split()[-1]
    async with Client([gateway]) as client:
        pid = await client.get_grain(Probe, "a").pid()
        held = asyncio.create_task(client.get_grain(Probe, "a").hold())
        await dev.output_line("holding a")
        dev.signal(signal.SIGINT)
        await asyncio.sleep(1)
        dev.signal(signal.SIGINT)
        assert await dev.ended() == 128 + signal.SIGINT
        assert isinstance((await asyncio.gather(held, return_exceptions=True))[0], CallError)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    """Whether the process runs. One that has ended may stay in the table until init has noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def _key_on(client: Client, pid: int) -> str:
    for attempt in range(1000):
        key = f"probe-{attempt}"
        if await client.get_grain(Probe, key).pid() == pid:
            return key
    raise AssertionError(f"of 1000 probes none runs on {pid}")
