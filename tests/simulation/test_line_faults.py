"""The drawn faults of the network: which lines each kind rejects, that connections are reset, and that it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from grange.testing import Simulation
from grange.testing.simulation.line_faults import LineFaults
from grange.testing.simulation.loop import Process
from grange.testing.simulation.machine import Machine
from grange.testing.simulation.nemesis import Nemesis
from tests.simulation.pair import Pair, with_pair

Rejected = set[tuple[str, str]]
SILOS = ["silo-1", "silo-2", "silo-3"]
CLIENTS = ["client-1"]


class Bench:
    """Three machines that are off, a client, and the faults of the network between them."""

    def __init__(self, seed: int) -> None:
        self.simulation = Simulation(seed)
        self.network = self.simulation.network
        self.machines = [Machine(number, self.simulation, (), {"host": "h"}) for number in (1, 2, 3)]
        self.clients = [Process(name) for name in CLIENTS]
        self.faults = LineFaults(self.machines, self.clients, self.simulation, random.Random(seed))

    def rejected(self) -> Rejected:
        everyone = [*(machine.process for machine in self.machines), *self.clients]
        return {
            (one.place, other.place) for one in everyone for other in everyone if self.network.is_rejected(one, other)
        }

    async def lines_of(self, kind: str) -> Rejected:
        """The lines that this fault rejects; it ends within 25 seconds, and repairs them."""
        fault = asyncio.ensure_future(self.faults.kinds[kind][1]())
        await asyncio.sleep(0.9)
        rejected = self.rejected()
        await asyncio.sleep(24.2)
        assert fault.done()
        assert self.rejected() == set()
        return rejected


def on_a_bench(seed: int, test: Callable[[Bench], Awaitable[None]]) -> None:
    bench = Bench(seed)

    async def main() -> None:
        await test(bench)

    try:
        bench.simulation.loop.run_until_complete(main())
    finally:
        bench.simulation.loop.close()


def both_ways(rejected: Rejected) -> bool:
    return rejected == {(target, source) for source, target in rejected}


@pytest.mark.parametrize("seed", range(3))
def test_each_kind_of_firewall_rejects_its_lines(seed: int) -> None:
    async def test(bench: Bench) -> None:
        ((source, target),) = await bench.lines_of("reject_one")
        assert source != target
        assert {source, target} < set(SILOS)

        rejected = await bench.lines_of("reject_all")
        (refused,) = {target for _, target in rejected}
        assert {source for source, _ in rejected} == set(SILOS) - {refused}, "clients reach it"

        rejected = await bench.lines_of("reject_pair")
        assert len(rejected) == 2
        assert both_ways(rejected)
        assert {place for line in rejected for place in line} < set(SILOS)

        rejected = await bench.lines_of("reject_host")
        assert len(rejected) == 4
        assert both_ways(rejected)
        assert {place for line in rejected for place in line} == set(SILOS)

    on_a_bench(seed, test)


def test_connections_are_reset_while_the_line_is_sound() -> None:
    async def test(pair: Pair) -> None:
        simulation = Simulation(1)
        simulation.network = pair.network
        faults = LineFaults([], [], simulation, random.Random(1))
        await faults.kinds["reset"][1]()
        assert simulation.event_log.counts["resets"] == 1, "there was no other"
        assert pair.at_a.lost_at is not None
        assert pair.at_b.lost_at is not None
        assert (await pair.connects())[0]
        simulation.loop.close()

    with_pair(test)


def test_the_nemesis_draws_every_fault_of_the_network() -> None:
    bench = Bench(1)
    nemesis = Nemesis(bench.machines, bench.clients, bench.simulation, random.Random(1), 20.0)
    assert set(bench.faults.kinds) < set(nemesis.kinds)
    assert {"reject_one", "reject_all", "reject_pair", "reject_host", "reset"} < set(nemesis.kinds)
    bench.simulation.loop.close()
