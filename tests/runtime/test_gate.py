"""The gate of a silo: while it is closed no turn starts; waiting turns start in order or are refused."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import svcs

from grange import CallTimeout, Grain, SiloUnavailable, always_interleave, response_timeout
from grange.aio.portions import PORTION
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.proto.message import Reason
from grange.runtime.activations.timers import FENCED_RETRY_DELAY
from grange.runtime.gate import Gate
from grange.runtime.requests.refusal import Refused
from tests.runtime.process import Process, RecordedCall, settle

Make = Callable[..., Process]


class Lines(list[str]):
    """Records the calls that ran in this silo, in order. `built` is called at the end of each constructor."""

    def built(self) -> None:
        """Do nothing."""


class Valve(asyncio.Event):
    """The event that `hold` waits for."""


class Journal(Grain[str], name="journal"):
    """Records each of its calls that runs."""

    def __init__(self, lines: Lines, valve: Valve) -> None:
        self.lines = lines
        self.valve = valve
        lines.append(f"{self.key} built")
        lines.built()

    async def on_activate(self) -> None:
        self.lines.append(f"{self.key} activated")

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        self.lines.append(f"{self.key} deactivated")

    async def write(self, word: str) -> None:
        self.lines.append(word)

    async def hold(self, word: str) -> None:
        self.lines.append(word)
        await self.valve.wait()
        self.lines.append(f"{word} ended")

    @response_timeout(60)
    async def ask(self, other: str) -> str:
        await self.valve.wait()
        try:
            await self.get_grain(Journal, other).write("nested")
        except SiloUnavailable as error:
            return f"not executed: {error}"
        return "done"

    @always_interleave
    async def glance(self, word: str) -> None:
        self.lines.append(word)

    async def tick_in(self, seconds: float) -> None:
        self.start_timer(self._tick, seconds)

    async def _tick(self) -> None:
        self.lines.append("tick")


class Worker(Grain[str], name="worker", stateless_workers=2):
    def __init__(self, lines: Lines) -> None:
        self.lines = lines

    async def work(self) -> None:
        self.lines.append("worked")


class Here:
    """A silo's runtime with its gate, and the record of calls that ran there."""

    def __init__(self, process: Make) -> None:
        self.lines, self.valve = Lines(), Valve()
        services = svcs.Registry()
        services.register_value(Lines, self.lines)
        services.register_value(Valve, self.valve)
        self.process = process(Journal, Worker, services=services)
        self.gate = self.process.deps.gate

    def journal(self, key: str = "a") -> Journal:
        return self.process.grains.get_grain(Journal, key)

    def call(self, awaitable: Any) -> asyncio.Task[Any]:
        return asyncio.ensure_future(awaitable)

    async def refused(self, *methods: str, key: str = "a") -> list[Refused]:
        """Deliver requests without the retry loop; returns their refusals."""
        refused: list[Refused] = []
        for method in methods:
            self.process.catalog.deliver(RecordedCall(self.journal(key).id, refused, method))  # type: ignore[attr-defined]
        await settle()
        return refused


@pytest.fixture
async def here(process: Make) -> Here:
    return Here(process)


async def test_what_waits_at_a_paused_gate_starts_in_order(here: Here) -> None:
    """A suspension of the process costs time, but no call."""
    await here.journal().write("first")
    here.gate.pause()
    calls = [here.call(here.journal().write(word)) for word in "bcd"]
    calls += [here.call(here.journal("other").write("e"))]
    await settle()
    assert here.lines == ["a built", "a activated", "first"]

    here.gate.open(math.inf)
    await asyncio.gather(*calls)
    assert [line for line in here.lines if line in "bcd"] == ["b", "c", "d"]
    assert here.lines.count("e") == 1


async def test_thousands_that_wait_at_the_gate_start_in_portions(here: Here) -> None:
    """Otherwise they would block the loop, just after it stood still."""
    await asyncio.gather(*(here.journal(str(number)).write("w") for number in range(3 * PORTION)))
    here.gate.pause()
    calls = [here.call(here.journal(str(number)).write("x")) for number in range(3 * PORTION)]
    await settle()
    here.gate.open(math.inf)
    rounds = [here.lines.count("x")]
    while rounds[-1] < 3 * PORTION:
        await asyncio.sleep(0)
        rounds.append(here.lines.count("x"))
    assert max(after - before for before, after in pairwise(rounds)) <= PORTION
    await asyncio.gather(*calls)


async def test_a_turn_that_runs_goes_on_behind_a_closed_gate(here: Here) -> None:
    call = here.call(here.journal().hold("long"))
    await settle()
    here.gate.pause()
    here.gate.fence("alone")
    here.valve.set()
    await call
    assert here.lines[-1] == "long ended"


async def test_a_paused_gate_lets_an_activation_end(here: Here) -> None:
    await here.journal().write("x")
    here.gate.fence("alone")
    here.process.activation(here.journal()).deactivate(DeactivationReason(DeactivationCode.OPERATOR, "test"))
    await here.process.tasks.wait()
    assert here.lines[-1] == "a deactivated"


async def test_a_fenced_silo_refuses_what_comes_and_what_waits_as_not_executed(here: Here) -> None:
    here.call(here.journal().hold("long"))
    await settle()
    waiting = here.refused("write")
    early = asyncio.ensure_future(waiting)
    await settle()
    here.gate.fence("this silo is cut off")
    refused = [*await early, *await here.refused("write", "glance"), *await here.refused("write", key="new")]
    assert [(each.reason, str(each)) for each in refused] == [(Reason.NOT_READY, "this silo is cut off")] * 4
    assert here.lines == ["a built", "a activated", "long"]
    here.valve.set()


async def test_turns_that_wait_at_a_paused_gate_are_refused_when_it_is_fenced(here: Here) -> None:
    await here.journal().write("first")
    here.gate.pause()
    waiting = asyncio.ensure_future(here.refused("write", "write"))
    await settle(50)
    here.gate.fence("this silo was declared dead")
    await settle()
    assert [each.reason for each in await waiting] == [Reason.NOT_READY] * 2
    assert here.lines[-1] == "first"


async def test_callers_in_the_fenced_silo_get_not_executed(here: Here) -> None:
    here.gate.fence("this silo is cut off")
    with pytest.raises(SiloUnavailable, match=r"was not executed.*cut off"):
        await here.journal().write("x")
    assert here.lines == []


async def test_a_call_that_is_repeated_is_executed_once_the_fence_is_lifted(here: Here) -> None:
    here.gate.fence("this silo is cut off")
    call = here.call(here.journal().write("x"))
    await asyncio.sleep(5)
    here.gate.open(math.inf)
    await call
    assert here.lines == ["a built", "a activated", "x"]


async def test_a_nested_call_of_a_running_turn_is_refused_too(here: Here) -> None:
    asking = here.call(here.journal().ask("other"))
    await settle()
    here.gate.fence("this silo is cut off")
    here.valve.set()
    assert "was not executed" in await asking
    assert "nested" not in here.lines


async def test_always_interleaving_calls_wait_too(here: Here) -> None:
    here.call(here.journal().hold("long"))
    await settle()
    here.gate.pause()
    glance = here.call(here.journal().glance("seen"))
    await settle()
    assert "seen" not in here.lines
    here.gate.open(math.inf)
    await glance
    here.valve.set()


async def test_an_activation_stops_at_the_gate_before_it_is_built(here: Here) -> None:
    here.gate.pause()
    call = here.call(here.journal().write("x"))
    await settle()
    assert here.lines == []
    here.gate.open(math.inf)
    await call
    assert here.lines == ["a built", "a activated", "x"]


async def test_an_activation_stops_at_the_gate_before_its_hook(here: Here) -> None:
    """The process was suspended while the state was loaded."""
    here.lines.built = here.gate.pause
    call = here.call(here.journal().write("x"))
    await settle()
    assert here.lines == ["a built"]
    here.gate.open(math.inf)
    await call
    assert here.lines == ["a built", "a activated", "x"]


async def test_an_activation_of_a_fenced_silo_fails(here: Here) -> None:
    here.gate.pause()
    refused = asyncio.ensure_future(here.refused("write"))
    await settle()
    here.gate.fence("this silo is cut off")
    assert [each.reason for each in await refused] == [Reason.NOT_READY]
    assert here.process.catalog.counts() == {}
    assert here.lines == []


async def test_stateless_workers_wait_and_are_refused_too(here: Here) -> None:
    worker = here.process.grains.get_grain(Worker, "w")
    here.gate.pause()
    call = here.call(worker.work())
    await settle()
    assert here.lines == []
    here.gate.open(math.inf)
    await call
    here.gate.fence("this silo is cut off")
    with pytest.raises(SiloUnavailable):
        await worker.work()
    assert here.lines == ["worked"]


async def test_a_tick_comes_again_when_the_fence_is_lifted(here: Here) -> None:
    await here.journal().tick_in(1)
    here.gate.fence("this silo is cut off")
    await asyncio.sleep(10)
    assert "tick" not in here.lines
    here.gate.open(math.inf)
    await asyncio.sleep(FENCED_RETRY_DELAY)
    assert here.lines.count("tick") == 1
    await asyncio.sleep(10)
    assert here.lines.count("tick") == 1


async def test_a_call_whose_time_is_over_at_the_gate_is_not_executed(here: Here) -> None:
    await here.journal().write("first")
    here.gate.pause()
    with pytest.raises(CallTimeout):
        await here.journal().write("x")
    here.gate.open(math.inf)
    await settle()
    assert here.lines[-1] == "first"


async def test_a_turn_at_the_gate_when_the_silo_ends_was_not_executed(here: Here) -> None:
    await here.journal().write("first")
    here.gate.pause()
    refused = asyncio.ensure_future(here.refused("write"))
    await settle(30)
    for running in here.process.activation(here.journal()).running:
        running.task.cancel()  # type: ignore[attr-defined]
    await settle()
    assert [each.reason for each in await refused] == [Reason.NOT_READY]
    assert here.lines[-1] == "first"


async def test_the_gate_closes_without_a_call_when_its_time_is_over(here: Here) -> None:
    """No task has to run first: the turn itself compares the time."""
    looked: list[float] = []

    def examine() -> None:
        looked.append(here.gate.clock())
        here.gate.pause()

    await here.journal().write("first")
    here.gate.on_expired(examine)
    start = here.gate.clock()
    here.gate.extend(start + 1)
    await asyncio.sleep(1)
    await here.journal().write("in time")
    await asyncio.sleep(0.01)
    call = here.call(here.journal().write("late"))
    await settle()
    assert looked == [start + 1.01]
    assert here.lines[-1] == "in time"
    here.gate.open(math.inf)
    await call
    assert here.lines[-1] == "late"


async def test_a_gate_that_was_examined_in_time_stays_open(here: Here) -> None:
    here.gate.on_expired(lambda: here.gate.extend(here.gate.clock() + 1))
    here.gate.extend(here.gate.clock())
    await asyncio.sleep(3)
    await here.journal().write("x")
    assert here.lines[-1] == "x"


async def test_a_closed_gate_is_not_opened_by_more_time() -> None:
    gate = Gate()
    gate.pause()
    gate.extend(math.inf)
    assert gate.closed
    assert gate.until == -math.inf
    gate.fence("x")
    gate.extend(math.inf)
    assert gate.closed
    assert gate.until == -math.inf


async def test_a_gate_that_closes_again_lets_no_turn_through() -> None:
    gate = Gate()
    gate.pause()
    passing = [asyncio.ensure_future(gate.passage()) for _ in range(2)]
    await settle()
    gate.open(math.inf)
    gate.pause()
    await settle()
    assert not any(each.done() for each in passing)
    gate.open(math.inf)
    assert await asyncio.gather(*passing) == [None, None]


async def test_on_fence_is_called_once() -> None:
    gate, told = Gate(), []
    gate.on_fence(lambda: told.append(gate.fenced))
    gate.pause()
    gate.fence("first")
    gate.fence("second")
    assert told == ["first"]
    assert str(gate.refusal()) == "second"
