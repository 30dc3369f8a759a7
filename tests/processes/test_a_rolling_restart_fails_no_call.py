"""Three silos are restarted one after the other, on their ports, while a client calls without a pause."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter as Tally

from grange.client import Client
from grange.servers.process import free_port
from tests.processes.counters import Counter, Probe
from tests.processes.silo_process import PATIENCE, SiloProcess, Silos

CALLS = 20_000
CALLERS = 12


class Load:
    """Callers without pauses: a quarter of them call a grain that stores, the others a grain without state."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.took: list[float] = []
        self.stored: Tally[str] = Tally()
        self._changed = asyncio.Event()

    async def call(self, number: int) -> None:
        """Run one caller until cancelled. Any error of a call ends the test."""
        while True:
            began = time.monotonic()
            if number % 4 == 0:
                key = f"counter-{number}"
                await self._client.get_grain(Counter, key).add()
                self.stored[key] += 1
            else:
                await self._client.get_grain(Probe, f"probe-{number}-{len(self.took) % 50}").pid()
            self.took.append(time.monotonic() - began)
            self._changed.set()

    async def reached(self, calls: int) -> None:
        """Wait until this many calls have succeeded."""
        while len(self.took) < calls:
            self._changed.clear()
            await self._changed.wait()

    async def check(self) -> None:
        """Check that acknowledged additions are stored; each caller may have had one call under way at its end."""
        for key, acknowledged in self.stored.items():
            assert acknowledged <= await self._client.get_grain(Counter, key).total() <= acknowledged + 1

    def slowest(self) -> str:
        """Times of the calls while grains moved, for the output of the test."""
        took = sorted(self.took)
        figures = {share: took[int(len(took) * share)] * 1000 for share in (0.5, 0.99, 0.999)}
        shares = ", ".join(f"p{share * 100:g} {figure:.0f} ms" for share, figure in figures.items())
        return f"{len(took)} calls, 0 failed; {shares}, max {took[-1] * 1000:.0f} ms"


class Three:
    """Three silos that restart on their ports."""

    def __init__(self, silos: Silos) -> None:
        self._silos = silos
        self._ports = [(str(free_port()), str(free_port())) for _ in range(3)]
        self.running: list[SiloProcess] = []

    async def start(self, number: int) -> SiloProcess:
        port, gateway = self._ports[number]
        silo = await self._silos.start("--port", port, "--gateway-port", gateway, "--name", f"silo-{number}")
        await silo.active()
        return silo

    async def start_all(self) -> None:
        self.running = list(await asyncio.gather(*(self.start(number) for number in range(3))))

    async def drain(self, number: int) -> None:
        """Run `grange drain` at the gateway of another silo."""
        other = self.running[(number + 1) % 3]
        command = await self._silos.command("drain", f"silo-{number}", "--gateway", other.gateway, "--json")
        assert await command.ended() == 0, command.errors
        facts = json.loads("\n".join(command.printed))
        assert facts["outcome"] == "drained", facts
        assert facts["address"] == str(self.running[number].address)

    async def restart(self, number: int) -> None:
        """Restart one silo: one of the three by `grange drain`, the others by SIGTERM."""
        if number == 1:
            await self.drain(number)
            assert await self.running[number].ended() == 0
        else:
            assert await self.running[number].stop() == 0
        self.running[number] = await self.start(number)


async def test_a_rolling_restart_under_load_fails_no_call(silos: Silos) -> None:
    """F3, F30: none of 20,000 calls fails, and no acknowledged addition is lost."""
    three = Three(silos)
    await three.start_all()
    async with Client([silo.gateway for silo in three.running], response_timeout=PATIENCE) as client:
        await client.wait_for([silo.address for silo in three.running])
        load = Load(client)
        callers = [asyncio.create_task(load.call(number)) for number in range(CALLERS)]

        async def roll() -> None:
            for number in range(3):
                await load.reached(len(load.took) + CALLS // 20)
                await three.restart(number)
            await client.wait_for([silo.address for silo in three.running])
            await load.reached(CALLS)

        rolling = asyncio.create_task(roll())
        await asyncio.wait((rolling, *callers), return_when=asyncio.FIRST_COMPLETED)
        for caller in callers:
            caller.cancel()
        failed = [
            each for each in await asyncio.gather(*callers, return_exceptions=True) if isinstance(each, Exception)
        ]
        assert not failed, failed
        await rolling
        await load.check()
        print(load.slowest())
