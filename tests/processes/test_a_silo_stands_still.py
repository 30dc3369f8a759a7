"""Processes that stand still: a short stop has no effect, a long stop is a death, and a turn that blocks is not."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from grange.client import Client
from tests.processes.counters import Probe
from tests.processes.load import load
from tests.processes.silo_process import PATIENCE, SiloProcess, Silos


async def three(silos: Silos, *options: str) -> list[SiloProcess]:
    return list(await asyncio.gather(*(silos.run(*options) for _ in range(3))))


async def until_active(client: Client, *silos: SiloProcess) -> None:
    async with asyncio.timeout(PATIENCE):
        await client.wait_for([silo.address for silo in silos])


async def call_without_end(client: Client, key: str) -> None:
    """Call the same probe without end; an error of the call is raised."""
    while True:
        await client.get_grain(Probe, key).pid()


async def key_on(client: Client, silo: SiloProcess) -> str:
    """The key of a probe that runs in this process."""
    for attempt in range(1000):
        key = f"probe-{attempt}"
        if await client.get_grain(Probe, key).pid() == silo.pid:
            return key
    raise AssertionError(f"of 1000 probes none runs on {silo.pid}")


@pytest.mark.parametrize("store", ["redis", "postgres"])
async def test_a_stop_of_two_seconds_costs_no_call(silos: Silos, store: str, redis_url: str, postgres_url: str) -> None:
    """F4: no silo is declared dead, and no call fails, with or without a write under way. The silo asks the table
    before it goes on.
    """
    options = "--storage", redis_url if store == "redis" else postgres_url, "--membership", redis_url
    name = f"stop-{store}"
    first, second, third = running = await three(silos, *options, "--cluster", name, "--service", name)
    async with Client([silo.gateway for silo in running], cluster=name, response_timeout=30) as client:
        await until_active(client, *running)
        callers = [asyncio.create_task(call_without_end(client, f"probe-{number}")) for number in range(24)]
        async with load(client, [f"counter-{number}" for number in range(12)]) as book:
            await book.more(1)
            second.signal(signal.SIGSTOP)
            await asyncio.sleep(2)
            second.signal(signal.SIGCONT)
            await second.log_line("silo_stood_still")
            await book.more(20)
        for caller in callers:
            caller.cancel()
        assert {type(end) for end in await asyncio.gather(*callers, return_exceptions=True)} == {asyncio.CancelledError}
        assert {member.address for member in client.view.active} == {silo.address for silo in running}
    assert [await silo.stop() for silo in (first, second, third)] == [0, 0, 0]
    assert "declared_dead" not in second.errors


async def test_a_silo_declared_dead_while_it_stood_still_runs_no_turn(silos: Silos) -> None:
    """F5: requests in its sockets are refused or lost, never executed; the silo ends with code 4."""
    first, second, zombie = running = await three(silos)
    async with Client([silo.gateway for silo in running]) as client, Client([zombie.gateway]) as near:
        await until_active(client, *running)
        key = await key_on(client, zombie)
        await near.get_grain(Probe, key).print_turn("before")
        await zombie.output_line("turn before")
        zombie.signal(signal.SIGSTOP)
        late = [asyncio.create_task(near.get_grain(Probe, key).print_turn("late")) for _ in range(50)]
        await until_active(client, first, second)
        zombie.signal(signal.SIGCONT)
        async with asyncio.timeout(PATIENCE):
            began = asyncio.get_running_loop().time()
            assert await zombie.ended() == 4
            ended = asyncio.get_running_loop().time()
        print(f"the zombie ended {ended - began:.2f} s after SIGCONT")
        for call in late:
            call.cancel()
        await asyncio.wait(late)
        assert "turn late" not in zombie.printed
        assert await client.get_grain(Probe, key).pid() != zombie.pid
    assert "declared_dead" in zombie.errors
    assert [await silo.stop() for silo in (first, second)] == [0, 0]


async def test_a_turn_that_blocks_the_loop_is_named_and_causes_no_death(silos: Silos) -> None:
    """F7: a thread answers probes and shows the stack; other silos are not affected."""
    first, blocked, third = running = await three(silos)
    async with Client([first.gateway, third.gateway], response_timeout=30) as client:
        await until_active(client, *running)
        key = await key_on(client, blocked)
        others = [await key_on(client, silo) for silo in (first, third)]
        call = asyncio.create_task(client.get_grain(Probe, key).block_loop(6))
        await blocked.output_line(f"blocking the loop: {key}")
        warning = json.loads(await blocked.log_line("loop_blocked"))
        assert not call.done()
        assert "time.sleep(seconds)" in json.dumps(warning)
        assert f"by probe/{key}.block_loop (File " in json.dumps(warning).replace('\\"', '"')
        for other in others:
            await client.get_grain(Probe, other).pid()
        assert not call.done()
        await call
        assert await client.get_grain(Probe, key).pid() == blocked.pid
        assert {member.address for member in client.view.active} == {silo.address for silo in running}
    assert not any("declared_dead" in silo.errors for silo in running)
    assert [await silo.stop() for silo in running] == [0, 0, 0]
