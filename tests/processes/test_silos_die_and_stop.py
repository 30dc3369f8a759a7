"""Silo processes with real stores are killed and stopped, and no acknowledged work is lost."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from grange import CallOutcomeUnknown, SiloStopped
from grange.client import Client
from grange.servers.process import free_port
from tests.processes.counters import Counter, Probe
from tests.processes.load import load
from tests.processes.silo_process import PATIENCE, Process, SiloProcess, Silos

KEYS = [f"counter-{number}" for number in range(24)]


def client_of(*silos: SiloProcess) -> Client:
    """A client with time-outs of minutes: a call that ends sooner was ended by an event."""
    return Client([silo.gateway for silo in silos], response_timeout=300)


async def until_active(client: Client, *silos: SiloProcess) -> None:
    """Wait until these silos, and no others, are active."""
    async with asyncio.timeout(PATIENCE):
        await client.wait_for([silo.address for silo in silos])


async def probes_on(client: Client, silo: SiloProcess, number: int) -> list[str]:
    """Keys of probes that run in this process."""
    found: list[str] = []
    for attempt in range(1000):
        key = f"probe-{attempt}"
        if await client.get_grain(Probe, key).pid() == silo.pid:
            found.append(key)
        if len(found) == number:
            return found
    raise AssertionError(f"of 1000 probes only {len(found)} run on {silo.pid}")


async def held(client: Client, silo: SiloProcess, keys: list[str]) -> list[asyncio.Task[None]]:
    """Start calls in this process that never end by themselves."""
    calls = [asyncio.create_task(client.get_grain(Probe, key).hold()) for key in keys]
    for key in keys:
        await silo.output_line(f"holding {key}")
    return calls


async def test_a_killed_silo_costs_only_the_calls_it_was_running(
    silos: Silos, redis_url: str, postgres_url: str
) -> None:
    """LIV-03, F1, EXT-05: calls in flight end at once with a typed error, others go on, acknowledged additions stay."""
    stores = ("--membership", redis_url, "--storage", postgres_url)
    first, second = await silos.run_two(*stores)
    async with client_of(first, second) as client:
        await until_active(client, first, second)
        async with load(client, KEYS, may_fail=True) as book:
            await book.more(3)
            calls = await held(client, second, await probes_on(client, second, 3))
            second.signal(signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(outcome).__mro__[1] for outcome in outcomes] == [CallOutcomeUnknown] * 3, outcomes
            assert len(client.view.active) == 2, "the calls ended before the death was known"
            await until_active(client, first)
            await book.more(3)
            again = await silos.run(*stores)
            await until_active(client, first, again)
            await book.more(3)
            assert await probes_on(client, again, 1)
    assert await first.stop() == 0
    assert await again.stop() == 0


async def test_a_stopped_silo_costs_no_call(silos: Silos, redis_url: str, postgres_url: str) -> None:
    """F2: SIGTERM under load; every call of every caller succeeds, and the process ends with code 0."""
    stores = ("--membership", redis_url, "--storage", postgres_url)
    first, second = await silos.run_two(*stores)
    async with client_of(first, second) as client:
        await until_active(client, first, second)
        async with load(client, KEYS) as book:
            await book.more(3)
            assert await second.stop() == 0
            await book.more(3)
        await until_active(client, first)
    assert await first.stop() == 0


async def test_a_silo_declared_dead_ends_with_its_own_exit_code(silos: Silos) -> None:
    """A paused process is declared dead. When it goes on, it learns of its death and must not run grains."""
    first, second = await silos.run_two()
    async with client_of(first) as client:
        await until_active(client, first, second)
        second.signal(signal.SIGSTOP)
        await until_active(client, first)
        second.signal(signal.SIGCONT)
        assert await second.ended() == 4
        (complaint,) = [line for line in second.logged if line.startswith("error: ")]
        assert str(second.address) in complaint
        assert {await client.get_grain(Probe, key).pid() for key in KEYS} == {first.pid}
    assert await first.stop() == 0


async def test_two_silos_need_nothing_but_a_folder(silos: Silos) -> None:
    """The embedded default: SQLite keeps membership and state, and both survive the death of all silos."""
    first, second = await silos.run_two()
    async with client_of(first, second) as client:
        await until_active(client, first, second)
        for key in KEYS:
            assert await client.get_grain(Counter, key).add(2) == 2
    for silo in (first, second):
        silo.signal(signal.SIGKILL)
        assert await silo.ended() == -signal.SIGKILL
    assert sorted(path.name for path in (silos.folder / ".grange").glob("*.db")) == ["cluster.db", "state.db"]
    fast = {"GRANGE_MEMBERSHIP_OPTIONS__ALIVE_PERIOD": "0.2", "GRANGE_MEMBERSHIP_OPTIONS__PROBE_INTERVAL": "0.2"}
    again = await silos.run(**fast)
    async with client_of(again) as client:
        assert [await client.get_grain(Counter, key).total() for key in KEYS] == [2] * len(KEYS)


async def test_a_silo_asked_twice_to_stop_ends_at_once(silos: Silos) -> None:
    """The first signal waits for a call that never ends, the second does not."""
    silo = await silos.run()
    async with client_of(silo) as client:
        (call,) = await held(client, silo, ["ann"])
        ended = asyncio.create_task(silo.ended())
        while not ended.done():  # signals within half a second of the first count as the same one
            silo.signal(signal.SIGTERM)
            await asyncio.wait((ended,), timeout=0.2)
        assert ended.result() == 128 + signal.SIGTERM
        assert "asked twice to stop" in silo.errors
        with pytest.raises(CallOutcomeUnknown):
            await call


async def test_silos_are_drained_from_a_shell_until_the_last_is_gone(silos: Silos) -> None:
    """By name, from any gateway. For a wrong name the command lists the names. The processes end with code 0."""
    first, second = await asyncio.gather(silos.run("--name", "one"), silos.run("--name", "two"))

    async def drain(name: str, at: SiloProcess) -> Process:
        command = await silos.command("drain", name, "--gateway", at.gateway)
        await command.ended()
        return command

    wrong, gone = await asyncio.gather(drain("three", first), drain("two", first))
    assert await wrong.ended() == 2
    assert "no silo is named 'three': " in wrong.errors
    assert f"one ({first.address})" in wrong.errors
    assert (await gone.ended(), await second.ended()) == (0, 0), gone.errors
    assert gone.printed[0].startswith(f"silo two ({second.address}) is gone after")
    dead = await drain("two", first)
    assert dead.printed == [f"silo two ({second.address}) is dead already; there is nothing to drain"]
    last = await drain(first.gateway, first)
    assert (await last.ended(), await first.ended()) == (0, 0), last.errors
    assert last.errors == ""  # that no gateway answers any more is what was asked


async def test_all_silos_come_back_on_their_ports_after_all_were_killed(silos: Silos) -> None:
    """F31: the rows of dead silos at their addresses do not block the joins; acknowledged writes are stored."""
    ports = [("--port", str(free_port()), "--gateway-port", str(free_port())) for _ in range(2)]
    killed = await asyncio.gather(*(silos.run(*port) for port in ports))
    async with client_of(*killed) as client:
        for key in KEYS:
            assert await client.get_grain(Counter, key).add(3) == 3
        for silo in killed:
            silo.signal(signal.SIGKILL)
        again = await asyncio.gather(*(silos.run(*port) for port in ports))
        await until_active(client, *again)
        assert [await client.get_grain(Counter, key).total() for key in KEYS] == [3] * len(KEYS)


@pytest.mark.parametrize("method", ["resist", "block"])
async def test_code_that_will_not_end_holds_no_process(silos: Silos, method: str) -> None:
    """One SIGTERM is enough: the caller gets an error at once, the log names the grain, the exit code is 0."""
    silo = await silos.run(GRANGE_DRAIN_TIMEOUT="0.2")
    async with client_of(silo) as client:
        call = asyncio.create_task(getattr(client.get_grain(Probe, "ann"), method)())
        await silo.output_line(f"{method}ing ann")
        silo.signal(signal.SIGTERM)
        with pytest.raises(SiloStopped, match=rf"stopped while it ran probe/ann\.{method}"):
            await call
        assert silo.running, "the caller waited for the end of the process"
    assert await silo.ended() == 0
    assert '"event":"drain_timeout"' in silo.errors
    named = [json.loads(line) for line in silo.logged if '"event":"turn_would_not_end"' in line]
    assert [(line["grain_type"], line["method"]) for line in named] == (
        [("probe", "resist")] if method == "resist" else []
    )
    assert '"event":"ended_by_force"' in silo.errors


async def test_a_silo_asked_to_stop_while_it_waits_to_join_ends_cleanly(silos: Silos) -> None:
    """The silo in the table does not answer, so the second silo cannot join yet."""
    first = await silos.run()
    first.signal(signal.SIGSTOP)
    second = await silos.start()
    await second.log_line("silo_joining")
    assert await second.stop() == 0
    first.signal(signal.SIGCONT)
    assert await first.stop() == 0


async def test_a_silo_ends_with_its_parent_process(silos: Silos) -> None:
    """`--stop-with-stdin`: the pipe closes when its writer ends in any way."""
    silo = await silos.run()
    silo.close_input()
    assert await silo.ended() == 0
