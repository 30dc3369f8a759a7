"""Every command of `grange` against a running cluster, tested by standard output, standard error and exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx2

from grange.client import Client
from grange.servers.process import free_port
from tests.processes.counters import Counter
from tests.processes.silo_process import ROOT, Process, SiloProcess, Silos


class Shell:
    """Runs commands against one silo."""

    def __init__(self, silos: Silos, silo: SiloProcess) -> None:
        self._silos = silos
        self._gateway = ("--gateway", silo.gateway)

    async def run(self, *words: str) -> Process:
        """Run the command; it must end with code 0."""
        process = await self._silos.command(*words, *self._gateway)
        assert await process.ended() == 0, process.errors
        assert process.logged == []
        return process

    async def facts(self, *words: str) -> Any:
        """The JSON output of the command."""
        return json.loads("\n".join((await self.run(*words, "--json")).printed))

    async def fails(self, *words: str) -> str:
        """Run a command that ends with code 1; returns its one line on standard error."""
        process = await self._silos.command(*words, *self._gateway)
        assert await process.ended() == 1, process.errors
        assert process.printed == []
        (line,) = process.logged
        return line


async def test_grains_are_called_from_a_shell(silos: Silos) -> None:
    shell = Shell(silos, await silos.run())
    assert (await shell.run("call", "counter/ann", "add", "[5]")).printed == ["5"]
    assert (await shell.run("call", "counter/ann", "add", '{"amount": 2}')).printed == ["7"]
    assert (await shell.run("call", "counter/ann", "total")).printed == ["7"]


async def test_a_call_that_fails_says_whether_it_ran(silos: Silos) -> None:
    shell = Shell(silos, await silos.run())
    failed, as_json, unknown, no_type, no_number = await asyncio.gather(
        shell.fails("call", "probe/ann", "fail"),
        shell.fails("call", "probe/bob", "fail", "--json"),
        shell.fails("call", "probe/eve", "hold", "--timeout", "0.5"),
        shell.fails("call", "apple/ann", "eat"),
        shell.fails("call", "counter/ann", "add", '["many"]'),
    )
    assert failed == "error: LookupError (executed): there is no such apple"
    assert json.loads(as_json) == {
        "error": {"type": "LookupError", "message": "there is no such apple", "outcome": "executed"}
    }
    assert unknown.startswith("error: CallTimeout (outcome unknown): ")
    assert no_type.startswith("error: NoSuchGrain (not executed): ")
    assert "'apple'" in no_type
    assert no_number.startswith("error: InvalidCall (not executed): ")


async def test_a_cluster_is_shown_from_a_shell(silos: Silos) -> None:
    first, second = await silos.run_two("--cluster", "orange", "--storage", "memory://")
    shell = Shell(silos, first)
    cluster = ("--cluster", "orange")
    async with Client([first.gateway], cluster="orange") as client:
        await client.wait_for([first.address, second.address])
        for number in range(8):
            await client.get_grain(Counter, str(number)).add()
    status, members, grains, listed, table, no_type, lemon = await asyncio.gather(
        shell.facts("status", *cluster),
        shell.facts("silos", *cluster),
        shell.facts("grains", *cluster),
        shell.facts("grains", "counter", *cluster),
        shell.run("status", *cluster),
        shell.fails("grains", "apple", *cluster),
        shell.fails("status", "--cluster", "lemon"),
    )
    addresses = {str(first.address), str(second.address)}
    assert status["cluster"] == "orange"
    assert {silo["address"] for silo in status["silos"]} == addresses
    assert sum(silo["activations"].get("counter", 0) for silo in status["silos"]) == 8
    assert {member["address"]: member["status"] for member in members} == dict.fromkeys(addresses, "active")
    assert {member["gateway"] for member in members} == {first.gateway, second.gateway}
    assert sum(grains["counter"].values()) == 8
    assert grains["probe"] == {}
    assert [row["grain"] for row in listed["activations"]] == [f"counter/{number}" for number in range(8)]
    assert {row["silo"] for row in listed["activations"]} <= addresses
    assert table.printed[0] == f"cluster 'orange', version {status['version']}, 2 active"
    assert {line.split()[0] for line in table.printed[2:]} == addresses
    assert "the types are: counter, probe" in no_type
    assert "'lemon'" in lemon


async def test_status_is_a_health_check(silos: Silos) -> None:
    """It asks the silo that this folder and environment describe, and fails when no silo answers there."""
    port = str(free_port())
    (silos.folder / "grange.toml").write_text(f'cluster = "orange"\ngateway_port = {port}\n')
    healthy = ("status", "--connect-timeout", "1")
    before = await silos.command(*healthy)
    assert await before.ended() == 1
    assert f"127.0.0.1:{port}" in before.errors
    silo = await silos.start("--gateway-port", port, "--host", "0.0.0.0", "--advertise", "127.0.0.1", "--insecure")
    await silo.active()
    during = await silos.command(*healthy, GRANGE_HOST="0.0.0.0")
    assert await during.ended() == 0, during.errors
    assert await silo.stop() == 0


async def test_a_command_finds_the_gateways_in_the_membership_table(silos: Silos) -> None:
    """It says so, unless it answers a program. Each silo of the cluster would do, also one of another machine."""
    silo = await silos.run()
    found, quiet = await silos.command("silos"), await silos.command("silos", "--json")
    assert await found.ended() == await quiet.ended() == 0
    assert found.logged == [f"asking {silo.gateway}, found in the membership table sqlite:///.grange/cluster.db"]
    assert quiet.logged == []
    assert str(silo.address) in found.printed[1]
    elsewhere = await silos.command("silos", "--membership", f"sqlite:///{silos.folder}/.grange/cluster.db")
    assert await elsewhere.ended() == 0


async def test_a_key_cannot_steer_the_terminal(silos: Silos) -> None:
    """Any client chooses keys; the error of a grain may quote them."""
    shell = Shell(silos, await silos.run())
    key = "\x1b]0;owned\x07\x1b[2J\u202egpj"
    await shell.run("call", f"counter/{key}", "add")
    listed = await shell.run("grains", "counter")
    as_json = await shell.run("grains", "counter", "--json")
    for output in ("\n".join(listed.printed), "\n".join(as_json.printed)):
        assert not {"\x1b", "\x07", "\u202e"} & set(output)
    assert r"counter/\x1b]0;owned\x07\x1b[2J\u202egpj" in listed.printed[1]
    assert json.loads("\n".join(as_json.printed))["activations"][0]["grain"] == f"counter/{key}"


async def test_output_that_cannot_be_written_is_no_defect(silos: Silos) -> None:
    """A full disk, a closed output, a reader that has gone, and a terminal without the letters of a key."""
    silo = await silos.run()
    gateway = ("--gateway", silo.gateway)
    call = await silos.command("call", "counter/é", "add", *gateway)
    assert await call.ended() == 0
    python = f"PYTHONPATH={ROOT} {sys.executable} -m grange"
    words = {
        f"{python} silos {' '.join(gateway)} > /dev/full": (1, "error: the output cannot be written: No space left"),
        f"{python} silos {' '.join(gateway)} >&-": (
            1,
            "error: the output cannot be written: standard output is closed",
        ),
        f"{python} call counter/a add {' '.join(gateway)} > /dev/full": (
            1,
            "No space left on device; the call was executed",
        ),
        f"{python} silos {' '.join(gateway)} | head -c 0": (0, ""),
        f"{python} --help > /dev/full": (1, "error: the output cannot be written: No space left"),
        f"PYTHONIOENCODING=ascii {python} grains counter {' '.join(gateway)}": (0, ""),
        f"COLUMNS=1 {python} silos {' '.join(gateway)} 2>&-": (0, ""),
    }
    for command, (code, says) in words.items():
        shell = await asyncio.create_subprocess_shell(
            command, cwd=silos.folder, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=-1
        )
        out, err = await shell.communicate()
        assert shell.returncode == code, (command, err)
        assert says in err.decode(), command
        assert "Traceback" not in err.decode()
        assert "Exception" not in err.decode()
        if "ascii" in command:
            assert rb"counter/\xe9" in out


async def test_a_silo_whose_announcement_is_lost_serves(silos: Silos) -> None:
    port = str(free_port())
    options = f"--port 0 --gateway-port {port} --http off"
    command = f"exec {sys.executable} -m grange run tests.processes.counters:silo {options} >/dev/full"
    silo = await asyncio.create_subprocess_shell(
        command, cwd=silos.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=asyncio.subprocess.PIPE
    )
    try:
        call = await silos.command(
            "call", "counter/ann", "add", "--gateway", f"127.0.0.1:{port}", "--connect-timeout", "40"
        )
        assert await call.ended() == 0, call.errors
    finally:
        silo.terminate()
        _, err = await silo.communicate()
    assert silo.returncode == 0
    assert b"is active, but this cannot be told: the output cannot be written: No space left on device" in err


async def test_a_silo_on_ipv6_is_reached_named_and_drained_with_brackets(silos: Silos) -> None:
    silo = await silos.run("--host", "[::1]")
    assert silo.gateway.startswith("[::1]:")
    assert silo.address.endpoint.startswith("[::1]:")
    shell = Shell(silos, silo)
    (row,) = await shell.facts("silos")
    assert (row["address"], row["name"], row["gateway"]) == (str(silo.address), silo.address.endpoint, silo.gateway)
    called = await silos.command("call", "counter/ann", "add")
    assert await called.ended() == 0, called.errors
    assert called.logged == [f"asking {silo.gateway}, found in the membership table sqlite:///.grange/cluster.db"]
    drained = await silos.command("drain", silo.address.endpoint, "--gateway", silo.gateway)
    assert await drained.ended() == 0, drained.errors
    assert "1 activation left it" in drained.printed[0]
    assert await silo.ended() == 0
    assert all("::1:" not in line.replace("[::1]:", "") for line in silo.logged)


async def test_words_are_completed_from_a_running_cluster(silos: Silos) -> None:
    silo = await silos.run("--name", "orders-1")

    async def completed(*words: str) -> list[str]:
        line = " ".join(("grange", *words))
        asked = await silos.command(_GRANGE_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words)))
        await asked.ended()
        assert asked.logged == []
        return [each.removeprefix("plain,") for each in asked.printed]

    assert await completed("drain", "o") == ["orders-1"]
    assert await completed("grains", "co") == ["counter"]
    assert await completed("call", "co") == ["counter/"]
    assert await completed("call", "counter/ann", "a") == ["add"]
    assert await completed("call", "--gateway", silo.gateway, "counter/ann", "to") == ["total"]


async def test_an_interrupted_call_says_what_became_of_it(silos: Silos) -> None:
    silo = await silos.run(GRANGE_DRAIN_TIMEOUT="0.5")
    call = await silos.command("call", "probe/ann", "hold", "--gateway", silo.gateway)
    await silo.output_line("holding ann")
    call.signal(signal.SIGINT)
    assert (await call.ended(), call.logged) == (130, ["error: Interrupted (outcome unknown): by Ctrl-C"])
    assert await silo.stop() == 0


async def test_dev_runs_a_cluster_until_it_is_interrupted(silos: Silos) -> None:
    dev = await silos.command("dev", "tests.processes.counters:silo")
    gateway = (await dev.output_line("silo-1 | active; clients reach it at")).split()[-1]
    await dev.output_line("silo-1, silo-2: one cluster")
    for command in ("status", "grains", "call TYPE/KEY METHOD '[ARGUMENTS]'"):
        assert await dev.output_line(f"  grange {command}") == f"  grange {command} --gateway {gateway}"
    status = await silos.command("status", "--gateway", gateway, "--json")
    assert await status.ended() == 0
    assert [silo["name"] for silo in json.loads("".join(status.printed))["silos"]] == ["silo-1", "silo-2"]
    dev.signal(signal.SIGINT)
    assert await dev.ended() == 0
    assert dev.printed[-2:] == ["silo-2 | stopped", "silo-1 | stopped"]
    assert [path.name for path in Path(silos.folder, ".grange").glob("*.db")] == ["state.db"]


async def test_dev_without_a_name_runs_a_demo(silos: Silos) -> None:
    dev = await silos.command("dev", "--silos", "1")
    gateway = (await dev.output_line("silo-1 | active; clients reach it at")).split()[-1]
    call = await silos.command("call", "counter/ann", "add", "5", "--gateway", gateway)
    assert await call.ended() == 0, call.errors
    assert call.printed == ["5"]
    dev.signal(signal.SIGTERM)
    assert await dev.ended() == 0


async def test_silos_of_dev_end_when_dev_is_killed(silos: Silos) -> None:
    dev = await silos.command("dev", "--silos", "1")
    gateway = (await dev.output_line("silo-1 | active; clients reach it at")).split()[-1]
    status = await silos.command("silos", "--gateway", gateway)
    assert await status.ended() == 0
    dev.signal(signal.SIGKILL)
    assert await dev.ended() == -signal.SIGKILL  # its output ends when the output of its silos ends


async def test_a_silo_of_dev_that_cannot_start_ends_dev(silos: Silos) -> None:
    (silos.folder / "grange.toml").write_text('storage = "redis://127.0.0.1:1/0"\n')
    dev = await silos.command("dev", "--silos", "2")
    assert await dev.ended() == 6
    assert sum("ended: exit code 6, store unusable" in line for line in dev.printed) == 2
    last = dev.printed[-2:]  # the reason comes last, after the output of all
    assert "failed: exit code 6, store unusable. Its last lines:" in last[0]
    assert "error: " in last[1]
    assert "127.0.0.1:1" in last[1]


async def test_dev_prints_the_address_that_opens_the_dashboard(silos: Silos) -> None:
    dev = await silos.command("dev", "tests.processes.counters:silo", "--silos", "1", "--data", "state")
    line = await dev.output_line("The dashboard: http://127.0.0.1:")
    url, _, token = line.removeprefix("The dashboard: ").partition("#token=")
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("readyz")).status_code == 200
        elsewhere = {"x-forwarded-for": "203.0.113.7"}
        assert (await client.get("metrics", headers=elsewhere)).status_code == 401
        elsewhere["authorization"] = f"Bearer {token}"
        assert (await client.get("metrics", headers=elsewhere)).status_code == 200
    dev.signal(signal.SIGINT)
    assert await dev.ended() == 0
