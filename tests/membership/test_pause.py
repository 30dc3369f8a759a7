"""The pause guard: a process that stood still needs a new proof of membership before its next turn."""

from __future__ import annotations

import asyncio

import pytest

from grange.membership.detection.liveness import TICK
from grange.membership.fencing.fence_state import GRACE_AFTER_PAUSE
from grange.membership.fencing.self_fence import READ_TIMEOUT, SEARCH_INTERVAL, SWEEP_TIMEOUT, TABLE_HEAD_START
from tests.membership.fence_world import DEAD, ME, MINUTE, OPTIONS, B, C, Make


async def test_a_turn_after_a_stop_finds_the_gate_closed_before_any_timer(
    world: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """F5: even if the turn runs first. One read of the table opens the gate again."""
    here = world(B, C)
    await asyncio.sleep(10.1)
    here.stand_still(2.0)
    assert here.gate.clock() > here.gate.until
    passing = asyncio.ensure_future(here.gate.passage())
    await asyncio.sleep(0)
    assert here.gate.closed
    assert not passing.done()
    stopped = here.now
    assert await passing is None
    assert here.now == stopped
    assert len(here.reads) == 1
    assert [record.event for record in caplog.records] == ["silo_stood_still"]
    assert "2.1 s" in caplog.text or "2.0 s" in caplog.text


async def test_without_a_turn_the_watchdog_finds_it(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10.1)
    here.stand_still(1.2)
    await asyncio.sleep(0.001)
    assert len(here.reads) == 1
    assert not here.gate.closed


async def test_a_short_stop_does_not_pause_the_gate(world: Make, caplog: pytest.LogCaptureFixture) -> None:
    here = world(B, C)
    for _ in range(100):
        await asyncio.sleep(0.3)
        here.stand_still(OPTIONS.pause_gap - TICK - 0.01)
        assert await here.gate.passage() is None
    assert caplog.records == []


async def test_a_zombie_stays_closed(world: Make) -> None:
    """F5: the silo was declared dead while it was stopped."""
    here = world(B, C)
    await asyncio.sleep(10.1)
    here.statuses[ME] = DEAD
    here.version = 9
    here.stand_still(12)
    passing = asyncio.ensure_future(here.gate.passage())
    await asyncio.sleep(MINUTE)
    assert here.gate.fenced
    assert str(await passing) == here.gate.fenced
    assert here.asked == []


async def test_probes_that_waited_in_a_queue_meanwhile_prove_nothing(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10.1)
    here.table_is_there = False
    here.reachable.clear()
    here.stand_still(12)
    here.liveness.probe_received(B, mutual=True)
    await asyncio.sleep(0.3)
    assert here.gate.closed


async def test_after_a_stop_without_a_table_all_silos_are_asked(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10.1)
    here.table_is_there = False
    here.stand_still(2)
    await here.closed()
    began = here.now
    assert await here.opened() <= began + TABLE_HEAD_START + 0.01
    assert len(here.asked) == 2


async def test_after_a_stop_without_a_table_a_newer_view_must_be_read_first(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10.1)
    here.table_is_there = False
    here.seen_by[C] = 8
    here.stand_still(12)
    await here.closed()
    await asyncio.sleep(MINUTE)
    assert here.gate.closed
    assert set(here.fetched) == {C}


async def test_a_read_that_began_before_the_stop_is_no_proof(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10)
    here.cut(B, C)
    here.read_takes = 0.3
    async with asyncio.timeout(MINUTE):
        while not here.reads:
            await asyncio.sleep(0.01)
    here.stand_still(1.2)  # while that read is under way
    closed = await here.closed()
    assert await here.opened() >= closed + here.read_takes - 0.002


async def test_a_stop_becomes_a_fence_only_if_no_proof_comes_soon(
    world: Make, caplog: pytest.LogCaptureFixture
) -> None:
    here = world(B)
    await asyncio.sleep(10.1)
    here.stand_still(5)
    await asyncio.sleep(0.001)
    assert not here.gate.closed
    assert [record.event for record in caplog.records] == ["silo_stood_still"]

    here.table_is_there = False
    here.cut(B)
    here.stand_still(5)
    began = await here.closed()
    assert here.gate.fenced is None
    async with asyncio.timeout(MINUTE):
        while here.gate.fenced is None:
            await asyncio.sleep(0.001)
    assert here.now == pytest.approx(began + GRACE_AFTER_PAUSE, abs=0.01)


async def test_a_read_that_began_after_the_stop_lifts_also_the_fence_that_came_meanwhile(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10.1)
    here.cut(B)
    here.read_takes = 2 * GRACE_AFTER_PAUSE
    here.stand_still(5)
    resumed = here.now
    assert await here.gate.passage() is not None
    assert here.now == pytest.approx(resumed + GRACE_AFTER_PAUSE, abs=0.01)
    assert await here.opened() == pytest.approx(resumed + here.read_takes, abs=0.01)


async def test_a_silo_alone_needs_only_the_table(world: Make) -> None:
    here = world()
    await asyncio.sleep(10)
    here.stand_still(60)
    passing = asyncio.ensure_future(here.gate.passage())
    began = here.now
    assert await passing is None
    assert here.now == began
    assert len(here.reads) == 1


def test_the_times_fit_together() -> None:
    """With a table that never answers, the next sweep is judged before the last one is too old."""
    assert max(READ_TIMEOUT, TABLE_HEAD_START + SWEEP_TIMEOUT, SEARCH_INTERVAL) + SWEEP_TIMEOUT < OPTIONS.fence_after
    assert OPTIONS.fence_after + 0.25 <= OPTIONS.vote_after
