"""Silos and clients with the road `tcp`: sockets where both sides have them, and gRPC's behaviour at each fault."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from grange import CallOutcomeUnknown
from grange.client import Client, ClientOptions
from grange.membership.model.member import Member
from tests.processes.counters import Probe
from tests.processes.load import load
from tests.processes.silo_process import PATIENCE, SiloProcess, Silos

KEYS = [f"counter-{number}" for number in range(12)]


def client_of(*silos: SiloProcess, road: str = "tcp", response_timeout: float = 300) -> Client:
    options = ClientOptions(road=road)  # type: ignore[arg-type]
    return Client([silo.gateway for silo in silos], response_timeout=response_timeout, options=options)


async def until_active(client: Client, *silos: SiloProcess) -> None:
    async with asyncio.timeout(PATIENCE):
        await client.wait_for([silo.address for silo in silos])


async def probe_on(client: Client, silo: SiloProcess) -> str:
    """The key of a probe that runs in this process."""
    for attempt in range(1000):
        key = f"probe-{attempt}"
        if await client.get_grain(Probe, key).pid() == silo.pid:
            return key
    raise AssertionError(f"of 1000 probes none runs on {silo.pid}")


def sockets_to(pid: int, port: int) -> int:
    """How many established connections this process has to a port of this machine: an observation of the system."""
    own = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:["):
            own.add(target[8:-1])
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  # gRPC's sockets are of the second kind
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return sum(row[9] in own and row[3] == "01" and int(row[2].split(":")[1], 16) == port for row in rows)


def member_of(client: Client, silo: SiloProcess) -> Member:
    member = client.view.get(silo.address)
    assert member is not None
    return member


async def test_two_silos_and_a_client_use_their_sockets(silos: Silos) -> None:
    first, second = await silos.run_two("--road", "tcp")
    async with client_of(first) as client:
        await until_active(client, first, second)
        here, there = await probe_on(client, first), await probe_on(client, second)
        assert await client.get_grain(Probe, here).pid_of(there) == second.pid
        for silo in (first, second):
            member = member_of(client, silo)
            assert sockets_to(os.getpid(), member.gateway_road) == 1
            assert member.road != member.gateway_road
        peer = member_of(client, second)
        assert (sockets_to(first.pid, peer.road), sockets_to(first.pid, peer.address.port)) == (1, 0)
    command = await silos.command("silos", "--json", "--gateway", first.gateway)
    assert await command.ended() == 0
    assert [row["road"] for row in json.loads("".join(command.printed))] == ["tcp", "tcp"]
    assert [await first.stop(), await second.stop()] == [0, 0]


async def test_a_silo_and_a_client_without_sockets_use_grpc(silos: Silos) -> None:
    fast, slow = await asyncio.gather(silos.run("--road", "tcp"), silos.run())
    async with client_of(fast) as client, client_of(fast, road="grpc") as old:
        for each in (client, old):
            await until_active(each, fast, slow)
            here, there = await probe_on(each, slow), await probe_on(each, fast)
            assert await each.get_grain(Probe, here).pid_of(there) == fast.pid
        row = member_of(client, slow)
        assert (row.road, row.gateway_road) == (0, 0)
        assert sockets_to(os.getpid(), member_of(client, fast).gateway_road) == 1
        peer = member_of(client, fast)
        assert (sockets_to(slow.pid, peer.road), sockets_to(slow.pid, peer.address.port)) == (0, 1)
    assert [await fast.stop(), await slow.stop()] == [0, 0]


async def test_a_port_in_use_stops_the_start_and_is_named_by_its_option(silos: Silos) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        silo = await silos.start("--road", "tcp", "--gateway-road-port", str(taken.getsockname()[1]))
        assert await silo.ended() == 2
        assert "gateway_road_port" in silo.errors


async def test_a_killed_silo_costs_only_the_calls_it_was_running(silos: Silos) -> None:
    """F1 over sockets: the calls in flight end at once, others go on, acknowledged additions stay."""
    first, second = await silos.run_two("--road", "tcp")
    async with client_of(first, second) as client:
        await until_active(client, first, second)
        async with load(client, KEYS, may_fail=True) as book:
            await book.more(3)
            key = await probe_on(client, second)
            call = asyncio.create_task(client.get_grain(Probe, key).hold())
            await second.output_line(f"holding {key}")
            second.signal(signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                (outcome,) = await asyncio.gather(call, return_exceptions=True)
            assert isinstance(outcome, CallOutcomeUnknown)
            assert len(client.view.active) == 2, "the call ended before the death was known"
            await until_active(client, first)
            await book.more(3)
    assert await first.stop() == 0


async def test_a_stop_of_two_seconds_costs_no_call_and_a_longer_one_ends_them(silos: Silos) -> None:
    """F3, F4 over sockets: one silo alone, so that only the signs of life can tell."""
    silo = await silos.run("--road", "tcp")
    async with client_of(silo) as client:
        key = await probe_on(client, silo)
        silo.signal(signal.SIGSTOP)
        short = asyncio.create_task(client.get_grain(Probe, key).pid())
        await asyncio.sleep(2)
        silo.signal(signal.SIGCONT)
        assert await short == silo.pid
        call = asyncio.create_task(client.get_grain(Probe, key).hold())
        await silo.output_line(f"holding {key}")
        silo.signal(signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE):
            (outcome,) = await asyncio.gather(call, return_exceptions=True)
        assert isinstance(outcome, CallOutcomeUnknown)
    silo.signal(signal.SIGKILL)


async def test_a_turn_that_blocks_the_loop_ends_no_connection(silos: Silos) -> None:
    """F7 over sockets: a thread shows life while the loop is blocked for longer than the keepalive time-outs."""
    silo = await silos.run("--road", "tcp")
    async with client_of(silo) as client:
        key = await probe_on(client, silo)
        held = asyncio.create_task(client.get_grain(Probe, "other").hold())
        await silo.output_line("holding other")
        await client.get_grain(Probe, key).block_loop(8)
        assert not held.done()
        held.cancel()
    silo.signal(signal.SIGKILL)  # it would wait for the turn that holds


async def test_a_planned_stop_fails_no_call(silos: Silos) -> None:
    """F2 over sockets: the goodbye, the last answers and the mark of the end arrive in order."""
    first, second = await silos.run_two("--road", "tcp")
    async with client_of(first, second) as client:
        await until_active(client, first, second)
        async with load(client, KEYS) as book:
            await book.more(3)
            assert await second.stop() == 0
            await until_active(client, first)
            await book.more(3)
    assert await first.stop() == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_client_in_each_kind_of_loop(silos: Silos, loop: str) -> None:
    """`grange run` uses uvloop; a client uses the loop of its program."""
    silo = await silos.run("--road", "tcp")
    program = f"""
import asyncio, sys
from grange.client import Client, ClientOptions
from tests.processes.counters import Probe
async def main():
    async with Client([{silo.gateway!r}], options=ClientOptions(road="tcp")) as client:
        return await asyncio.gather(*(client.get_grain(Probe, str(number % 7)).pid() for number in range(500)))
import uvloop
print(len(set({"uvloop.run" if loop == "uvloop" else "asyncio.run"}(main()))))
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, errors = await process.communicate()
    assert (printed, errors, process.returncode) == (b"1\n", b"", 0)
    assert await silo.stop() == 0
