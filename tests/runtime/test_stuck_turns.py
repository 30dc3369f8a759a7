"""A turn that runs for too long is reported once, with its stack and the requests that wait for it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from grange import Grain
from grange.observability.events import Events
from grange.proto.journal import EventRow
from grange.runtime.activations.stuck_turns import MAX_REPORTED, PERIOD, StuckTurns
from grange.runtime.options import RuntimeOptions
from grange.testing.loop import VirtualTime
from tests.runtime.process import Process

AFTER = 30.0


class Worker(Grain):
    """A grain whose turn waits until it is told to go on."""

    async def work(self, go_on: float) -> None:
        """Wait for so many seconds."""
        await self.wait_long(go_on)

    async def wait_long(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Bench:
    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.process = Process(Worker, options=RuntimeOptions(stuck_after=AFTER, response_timeout=1000.0))
        self.events = Events("here")
        self.stuck = StuckTurns(self.process.deps, self.events)
        self.calls: list[asyncio.Task[None]] = []

    def work(self, key: str, seconds: float) -> None:
        self.calls.append(asyncio.create_task(self.process.grains.get_grain(Worker, key).work(seconds)))

    @property
    def told(self) -> list[EventRow]:
        return self.events.after(0, 100)[0]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        made = Bench(time)
        task = asyncio.create_task(made.stuck.run())
        yield made
        for each in (task, *made.calls):
            each.cancel()
        await asyncio.gather(task, *made.calls, return_exceptions=True)
        await made.process.close()


async def test_a_stuck_turn_is_one_event_with_stack_and_waiting_requests(bench: Bench) -> None:
    bench.work("ann", 500.0)
    bench.work("ann", 0.0)
    bench.work("bob", 20.0)
    await asyncio.sleep(AFTER - 1)
    assert bench.told == []
    await asyncio.sleep(PERIOD + 1)
    (row,) = bench.told
    assert (row.facts["grain_type"], row.facts["method"], row.facts["waiting"], row.facts["stuck"]) == (
        "worker", "work", 1, 1,
    )  # fmt: skip
    assert "worker/ann" in row.text
    stack = str(row.facts["stack"]).splitlines()
    assert "in work" in stack[0]
    assert any("in wait_long" in line for line in stack)
    await asyncio.sleep(400)
    assert len(bench.told) == 1
    assert bench.events.counts == {"turn_stuck": 1}


async def test_another_turn_of_the_same_activation_is_reported_again(bench: Bench) -> None:
    bench.work("ann", 100.0)
    bench.work("ann", 100.0)
    await asyncio.sleep(300)
    assert len(bench.told) == 2
    assert not bench.stuck._reported


async def test_many_stuck_turns_are_reported_in_portions_and_counted(bench: Bench) -> None:
    for number in range(3 * MAX_REPORTED):
        bench.work(f"key-{number}", 500.0)
    await asyncio.sleep(AFTER + PERIOD)
    assert bench.events.counts == {"turn_stuck": MAX_REPORTED}
    assert bench.told[0].facts["stuck"] == 3 * MAX_REPORTED
    await asyncio.sleep(2 * PERIOD)
    assert bench.events.counts == {"turn_stuck": 3 * MAX_REPORTED}
    assert len(bench.told) == 10, "the rate limit applies to lines, not to the count"


async def test_time_in_which_the_process_stood_still_reports_no_turn(bench: Bench) -> None:
    """After a stop of a minute every turn looks long; it may end at once."""
    bench.work("ann", 3.0)
    await asyncio.sleep(1)
    bench.time._now += 60.0  # no task runs, and all timers are late afterwards
    await asyncio.sleep(10 * PERIOD)
    assert bench.told == []


async def test_a_turn_that_waits_at_the_gate_of_a_fenced_silo_is_not_stuck(bench: Bench) -> None:
    bench.work("ann", 0.0)
    await asyncio.sleep(1)
    bench.process.deps.gate.pause()
    bench.work("ann", 1.0)
    await asyncio.sleep(AFTER + 2 * PERIOD)
    assert bench.process.deps.turns
    assert bench.told == []
    bench.process.deps.gate.open(math.inf)
