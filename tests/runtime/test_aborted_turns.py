"""A silo that cancels its turns reports true outcomes: a request that had not reached its grain was not executed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from grange import Grain
from grange.errors import SiloStopped
from grange.proto.message import Reason
from grange.runtime.requests.refusal import Refused
from tests.runtime.process import Gate, Process, recorded_call, settle

Make = Callable[..., Process]
ran: list[str] = []


class Worker(Grain):
    """Records the calls that reach it."""

    async def work(self) -> None:
        ran.append(self.key)
        await Gate().pass_through()

    async def rest(self) -> None:
        """Create the activation."""


@pytest.mark.parametrize("rounds", [0, 20])
async def test_what_waits_at_a_paused_gate_is_refused_and_what_runs_is_lost(process: Make, rounds: int) -> None:
    """I8: with 0 iterations of the event loop, the task of the turn has not started."""
    ran.clear()
    here = process(Worker)
    runs, waits = here.grains.get_grain(Worker, "runs"), here.grains.get_grain(Worker, "waits")
    refused: list[Refused] = []
    await runs.rest()
    await waits.rest()
    first = recorded_call(runs.id, [])
    here.catalog.deliver(first)
    await settle()
    assert ran == ["runs"]
    second = recorded_call(waits.id, refused)
    here.deps.gate.pause()
    here.catalog.deliver(second)
    await settle(rounds)
    await here.catalog.cancel_turns()
    assert [each.reason for each in refused] == [Reason.NOT_READY]
    assert second.values == []
    assert [type(value) for value in first.values[:1]] == [SiloStopped]
    assert first.refused == []
    assert ran == ["runs"]
