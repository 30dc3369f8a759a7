"""A turn or hook that does not end is abandoned: its grain serves again, and its state stores nothing more (LIF)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
import svcs

from grange import (
    ActivationFailed,
    CallOutcomeUnknown,
    DeactivationCode,
    DeactivationReason,
    Grain,
    PersistentState,
    StorageError,
    TurnAbandoned,
    always_interleave,
    response_timeout,
)
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, Committed
from grange.testing.cluster import TestCluster

LIMITS = {"max_turn_time": 100.0, "activation_timeout": 20.0, "deactivation_timeout": 20.0}


class Traces:
    """What the grains of a test did, and the event that lets stubborn code go on."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.go_on = asyncio.Event()

    async def ignore_cancellation(self) -> None:
        """Wait for `go_on`, and go on waiting when this is cancelled."""
        while not self.go_on.is_set():
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.notes.append("cancelled")


def with_traces(traces: Traces) -> svcs.Registry:
    registry = svcs.Registry()
    registry.register_value(Traces, traces)
    return registry


@dataclass
class Amount:
    value: int = 0


class Desk(Grain):
    """`hang` ends when it is cancelled; `hang_on` only when the test lets it, and then writes."""

    def __init__(self, traces: Traces, state: PersistentState[Amount]) -> None:
        self.traces = traces
        self.state = state

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        self.traces.notes.append(reason.code)

    async def add(self) -> int:
        self.state.value.value += 1
        await self.state.write()
        return self.state.value.value

    @response_timeout(1000)
    async def add_on(self) -> None:
        while True:
            await self.add()

    @response_timeout(1000)
    async def hang(self) -> None:
        await asyncio.sleep(900)

    @response_timeout(1000)
    async def hang_on(self) -> None:
        self.state.value.value += 100
        try:
            await self.traces.ignore_cancellation()
            await self.state.write()
        except Exception as error:
            self.traces.notes.append(error)

    @always_interleave
    async def activation(self) -> str:
        return self.activation_id

    @always_interleave
    @response_timeout(1000)
    async def watch(self) -> None:
        await asyncio.sleep(500)

    async def finish(self) -> None:
        self.deactivate_when_idle()

    async def move(self) -> None:
        self.migrate_when_idle()


async def outcome(call: asyncio.Future[Any]) -> BaseException | None:
    (error,) = await asyncio.gather(call, return_exceptions=True)
    return error if isinstance(error, BaseException) else None


async def test_a_stuck_turn_is_abandoned_and_its_queue_goes_to_a_new_activation() -> None:
    """LIF-24: the caller of the turn learns that its outcome is unknown; the requests that waited are executed."""
    traces = Traces()
    async with TestCluster([Desk], services=with_traces(traces), runtime=LIMITS) as cluster:
        desk = cluster.get_grain(Desk, "a")
        first = await desk.activation()
        stuck = asyncio.ensure_future(desk.hang())
        await cluster.advance(90)
        waiting = asyncio.ensure_future(desk.add())
        await cluster.advance(20)
        error = await outcome(stuck)
        assert isinstance(error, TurnAbandoned)
        assert isinstance(error, CallOutcomeUnknown)
        assert "longer than max_turn_time" in str(error)
        assert await waiting == 1
        assert await desk.activation() != first
        assert traces.notes == []  # on_deactivate does not run
        assert ended(cluster) == {"unresponsive": 1}


async def test_a_long_turn_that_holds_up_no_request_goes_on() -> None:
    """LIF-24: it is abandoned only once a request waits for it."""
    async with TestCluster([Desk], services=with_traces(Traces()), runtime=LIMITS) as cluster:
        desk = cluster.get_grain(Desk, "a")
        stuck = asyncio.ensure_future(desk.hang())
        first = await desk.activation()
        await cluster.advance(300)
        assert not stuck.done()
        waiting = asyncio.ensure_future(desk.add())
        await cluster.advance(10)
        assert await waiting == 1
        assert isinstance(await outcome(stuck), TurnAbandoned)
        assert await desk.activation() != first


async def test_a_turn_beside_which_requests_run_is_not_abandoned() -> None:
    """LIF-24: a long call that always interleaves holds up none."""
    async with TestCluster([Desk], services=with_traces(Traces()), runtime=LIMITS) as cluster:
        desk = cluster.get_grain(Desk, "a")
        watching = asyncio.ensure_future(desk.watch())
        for _ in range(10):
            await cluster.advance(30)
            await desk.add()
        await cluster.advance(300)
        assert await outcome(watching) is None


async def test_an_abandoned_turn_that_goes_on_writes_nothing() -> None:
    """LIF-25: it ignores its cancellation, comes back, and its write is refused: the new activation's state stays."""
    traces = Traces()
    async with TestCluster([Desk], services=with_traces(traces), runtime=LIMITS) as cluster:
        desk = cluster.get_grain(Desk, "a")
        await desk.add()
        stuck = asyncio.ensure_future(desk.hang_on())
        await cluster.advance(90)
        waiting = asyncio.ensure_future(desk.add())
        await cluster.advance(30)
        assert isinstance(await outcome(stuck), TurnAbandoned)
        assert await waiting == 2
        traces.go_on.set()
        await cluster.advance(1)
        cancelled, refused = traces.notes
        assert cancelled == "cancelled"
        assert isinstance(refused, StorageError | RuntimeError)
        assert await desk.add() == 3


class Slow(MemoryStorage):
    """Each write takes a second."""

    async def commit(self, changes: ChangeSet) -> Committed:
        await asyncio.sleep(1)
        return await super().commit(changes)


async def test_an_abandoned_activation_keeps_its_reason() -> None:
    """LIF-24: also if its turn waits for a store, and so leaves a change that is not stored."""
    async with TestCluster([Desk], services=with_traces(Traces()), storage=Slow(), runtime=LIMITS) as cluster:
        desk = cluster.get_grain(Desk, "a")
        stuck = asyncio.ensure_future(desk.add_on())
        await cluster.advance(90)
        waiting = asyncio.ensure_future(desk.add())
        await cluster.advance(20)
        assert isinstance(await outcome(stuck), TurnAbandoned)
        assert await waiting > 90
        assert ended(cluster) == {"unresponsive": 1}


async def test_a_turn_that_holds_up_the_end_of_its_activation_is_abandoned() -> None:
    """LIF-24: also without a request that waits."""
    traces = Traces()
    async with TestCluster([Desk], services=with_traces(traces), runtime=LIMITS) as cluster:
        desk = cluster.get_grain(Desk, "a")
        watching = asyncio.ensure_future(desk.watch())
        await cluster.advance(1)
        await desk.finish()
        await cluster.advance(110)
        assert isinstance(await outcome(watching), TurnAbandoned)
        assert cluster.count(Desk) == 0


async def test_a_move_that_a_stuck_turn_holds_up_is_given_up() -> None:
    """LIF-24: the memory of the abandoned activation goes nowhere."""
    async with TestCluster([Desk], services=with_traces(Traces()), runtime=LIMITS) as cluster:
        desk = cluster.get_grain(Desk, "a")
        watching = asyncio.ensure_future(desk.watch())
        await cluster.advance(1)
        silo = cluster.where(desk)
        assert silo is not None
        await desk.move()
        await cluster.advance(110)
        assert isinstance(await outcome(watching), TurnAbandoned)
        assert not silo.catalog.deps.moves.departures
        assert await desk.add() == 1


class SlowToBegin(Grain):
    """Its first `on_activate` ignores its cancellation."""

    def __init__(self, traces: Traces, state: PersistentState[Amount]) -> None:
        self.traces = traces
        self.state = state

    async def on_activate(self) -> None:
        self.traces.notes.append("activate")
        if self.traces.notes.count("activate") == 1:
            await self.traces.ignore_cancellation()
            self.traces.notes.append("came back")

    async def add(self) -> int:
        self.state.value.value += 1
        await self.state.write()
        return self.state.value.value


async def test_an_activation_hook_that_ignores_its_cancellation_is_left_behind() -> None:
    """LIF-26: its callers are refused, and the next call activates the grain anew."""
    traces = Traces()
    async with TestCluster([SlowToBegin], services=with_traces(traces), runtime=LIMITS) as cluster:
        grain = cluster.get_grain(SlowToBegin, "a")
        with pytest.raises(ActivationFailed, match="ignores its cancellation"):
            await grain.add()
        assert traces.notes == ["activate", "cancelled"]
        assert await grain.add() == 1
        traces.go_on.set()
        await cluster.advance(5)
        assert traces.notes[2:] == ["activate", "came back"]
        assert await grain.add() == 2
        assert cluster.count(SlowToBegin) == 1


class SlowToEnd(Grain):
    """Its `on_deactivate` ignores its cancellation."""

    def __init__(self, traces: Traces) -> None:
        self.traces = traces

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        await self.traces.ignore_cancellation()

    async def finish(self) -> str:
        self.deactivate_when_idle()
        return self.activation_id


async def test_a_deactivation_hook_that_ignores_its_cancellation_is_left_behind() -> None:
    """LIF-26: the next call activates the grain anew."""
    traces = Traces()
    async with TestCluster([SlowToEnd], services=with_traces(traces), runtime=LIMITS) as cluster:
        grain = cluster.get_grain(SlowToEnd, "a")
        first = await grain.finish()
        waiting = asyncio.ensure_future(grain.finish())
        await cluster.advance(40)
        assert waiting.done()
        assert await waiting != first
        traces.go_on.set()


def ended(cluster: TestCluster) -> dict[str, int]:
    """The ends of activations by code, in all silos."""
    found: dict[str, int] = {}
    for silo in cluster.silos:
        for hosted in silo.catalog.hosted.values():
            for code, count in hosted.figures.ended.items():
                found[code] = found.get(code, 0) + count
    return found


def test_codes_are_texts() -> None:
    """The code is its name in figures."""
    assert str(DeactivationCode.UNRESPONSIVE) == "unresponsive"
