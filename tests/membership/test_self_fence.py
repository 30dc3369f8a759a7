"""The fence: the gate closes in time, stays closed without a proof, and opens on the first one."""

from __future__ import annotations

import asyncio
import logging
import math
from itertools import pairwise

import pytest

from grange.membership.detection.liveness import TICK
from grange.membership.fencing.fence_state import SILENT_INTERVALS
from grange.membership.fencing.proofs import watchers_of
from grange.membership.fencing.self_fence import SEARCH_INTERVAL, SWEEP_TIMEOUT, TABLE_HEAD_START
from grange.membership.model.member import SiloStatus, make_view
from grange.proto.ids import SiloAddress
from tests.membership.fence_world import ACTIVE, DEAD, ME, MINUTE, OPTIONS, B, C, D, Make, World


def logged(caplog: pytest.LogCaptureFixture, *events: str) -> list[str]:
    """These events in the log, as often as they occurred."""
    return [record.event for record in caplog.records if record.__dict__.get("event") in events]


async def test_a_silo_heard_by_all_watchers_does_not_read_the_table(world: Make) -> None:
    here = world(B, C, D)
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed
    assert here.reads == []


async def test_a_silo_that_is_cut_off_closes_its_gate_in_time(world: Make, caplog: pytest.LogCaptureFixture) -> None:
    """F9: `fence_after` after the last proof, also for a cut late in the probe interval."""
    here = world(B, C)
    await asyncio.sleep(10.6)
    last = max(here.liveness.contacts().values())
    here.cut(B, C)
    here.table_is_there = False
    assert await here.closed() == pytest.approx(last + OPTIONS.fence_after, abs=0.002)
    assert here.gate.fenced is not None
    assert "no proof" in here.fence.fenced
    assert [record.event for record in caplog.records] == ["self_fenced"]
    assert caplog.records[0].levelno == logging.ERROR


async def off_the_ticks(here: World, silo: SiloAddress) -> None:
    """Shift the probes of a silo by 0.1 s, so that the gate must close 0.15 s before a tick: only the timer does it."""
    await asyncio.sleep(0.1)
    here.cut(silo)
    here.heal(silo)
    await asyncio.sleep(10)


@pytest.mark.parametrize("early", [0.0, 1e-9], ids=["a timer on time", "a timer a nanosecond early"])
async def test_the_gate_closes_in_time_between_two_ticks(
    world: Make, monkeypatch: pytest.MonkeyPatch, early: float
) -> None:
    here = world(B)
    await off_the_ticks(here, B)
    call_later = here.loop.call_later
    monkeypatch.setattr(here.loop, "call_later", lambda delay, *rest, **kw: call_later(delay - early, *rest, **kw))
    due = here.liveness.contacts()[B] + OPTIONS.fence_after
    here.cut(B)
    here.table_is_there = False
    assert await here.closed() == pytest.approx(due, abs=0.002)


async def test_the_gate_is_closed_to_a_turn_even_before_the_timer(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.cut(B)
    here.table_is_there = False
    await asyncio.sleep(1)
    assert here.gate.until <= here.now - 1 + OPTIONS.fence_after


async def test_a_silo_heard_by_no_watcher_reads_the_table_twice_a_second(world: Make) -> None:
    """F13: it learns of its death within half a second."""
    here = world(B, C)
    await asyncio.sleep(10)
    here.cut(B, C)
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed
    pauses = [later - earlier for earlier, later in pairwise(here.reads)]
    assert max(pauses) <= SEARCH_INTERVAL + 0.01
    assert here.asked == []


async def test_a_probe_that_comes_during_a_search_ends_it(world: Make) -> None:
    """The search ends with a late failure of the table, between two ticks. It would read once more for nothing."""
    here = world(B)
    await asyncio.sleep(10.6)
    here.cut(B)
    here.table_is_there = False
    here.read_takes = TABLE_HEAD_START + SWEEP_TIMEOUT + 0.1
    while not here.reads:
        await asyncio.sleep(0.01)
    await asyncio.sleep(here.reads[0] + here.read_takes - 0.05 - here.now)
    for _ in range(2):  # the second probe proves contact as of now
        here.liveness.probe_received(B, mutual=True, version=7)
    await asyncio.sleep(OPTIONS.probe_interval)
    assert len(here.reads) == 1


async def test_a_closed_gate_has_one_search_at_a_time(world: Make) -> None:
    """The fence starts a search afresh, and each stop of the process another one: the one before it ends."""
    here = world(B)
    await asyncio.sleep(10)
    here.cut(B)
    here.table_is_there = False
    await here.closed()
    here.stand_still(5)
    await asyncio.sleep(2)
    here.reads.clear()
    await asyncio.sleep(10)
    assert len(here.reads) == pytest.approx(10 / (TABLE_HEAD_START + SWEEP_TIMEOUT), abs=1)


async def test_one_silent_watcher_is_enough_to_read_the_table(world: Make) -> None:
    """A third silo may give the second vote: see indirect probes."""
    here = world(B, C, D)
    await asyncio.sleep(10)
    here.cut(B)
    await asyncio.sleep(10)
    silent = SILENT_INTERVALS * OPTIONS.probe_interval
    assert len(here.reads) == pytest.approx((10 - silent) / SEARCH_INTERVAL, abs=2)
    assert not here.gate.closed


async def test_without_the_table_a_silo_heard_by_all_watchers_goes_on(world: Make) -> None:
    """R8: for any length of time."""
    here = world(B, C, D)
    here.table_is_there = False
    await asyncio.sleep(10 * MINUTE)
    assert not here.gate.closed
    assert here.asked == []


async def test_without_the_table_a_majority_goes_on(world: Make) -> None:
    """One of three crashes while the table is away."""
    here = world(B, C)
    await asyncio.sleep(10)
    here.table_is_there = False
    here.cut(B)
    await asyncio.sleep(10 * MINUTE)
    assert not here.gate.closed


async def test_a_majority_goes_on_with_a_table_that_never_answers(
    world: Make, caplog: pytest.LogCaptureFixture
) -> None:
    here = world(B, C)
    await asyncio.sleep(10)
    here.read_takes = math.inf
    here.cut(B)
    await asyncio.sleep(10 * MINUTE)
    assert not here.gate.closed
    assert not logged(caplog, "self_fenced")


async def test_a_majority_goes_on_with_a_table_that_raises_a_foreign_error(
    world: Make, caplog: pytest.LogCaptureFixture
) -> None:
    here = world(B, C)
    await asyncio.sleep(10)
    here.table_is_broken = True
    here.cut(B)
    await asyncio.sleep(10 * MINUTE)
    assert not here.gate.closed
    assert not logged(caplog, "self_fenced", "task_failed")


async def test_without_the_table_a_minority_stops(world: Make) -> None:
    """A and B are cut off from C, D, E and the table: probes between A and B prove nothing."""
    here = world(B, C, D)
    await asyncio.sleep(10)
    here.table_is_there = False
    here.cut(C, D)
    await here.closed()
    await asyncio.sleep(MINUTE)
    assert here.gate.fenced


async def test_an_answer_with_a_newer_version_proves_nothing_and_its_view_is_fetched(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10)
    here.table_is_there = False
    here.cut(C)
    here.seen_by[B] = 8
    await here.closed()
    assert set(here.fetched) == {B}

    here.version = 8
    here.fence.on_view(here.view())
    await here.opened()


async def test_a_silo_alone_is_not_fenced(world: Make) -> None:
    here = world()
    here.table_is_there = False
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed


async def test_a_silo_that_is_not_active_yet_is_not_fenced(world: Make) -> None:
    here = world(B)
    here.statuses[ME] = SiloStatus.JOINING
    here.version += 1
    here.fence.on_view(here.view())
    here.cut(B)
    here.table_is_there = False
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed


async def test_a_new_watcher_has_time_to_be_heard(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.table_is_there = False
    here.statuses[C] = ACTIVE
    here.seen_by[C] = here.seen_by[B] = here.version = 8
    here.fence.on_view(here.view())
    await asyncio.sleep(0.9)
    here.heal(C)
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed


@pytest.mark.parametrize("leaving", [True, False], ids=["its watchers leave", "the second silo watches newcomers"])
async def test_a_silo_that_loses_all_watchers_has_time_to_read_the_table(
    world: Make, leaving: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving and joining silos have places on the rings, but probe no silo: a cluster that shrinks, or starts."""
    crowd = tuple(SiloAddress("127.0.0.1", 11112 + number, 1) for number in range(7))
    here = world(*crowd)
    watchers = watchers_of(ME, here.view(), OPTIONS)
    if leaving:
        changed = dict.fromkeys(watchers, SiloStatus.LEAVING)
    else:
        here.statuses = {ME: ACTIVE}
        here.fence.on_view(make_view(8, here.view().members))
        stranger = next(silo for silo in crowd if silo not in watchers)
        changed = {**dict.fromkeys(crowd, SiloStatus.JOINING), stranger: ACTIVE}
    await asyncio.sleep(MINUTE)

    here.read_takes = 0.05
    here.statuses.update(changed)
    here.version = 9
    for watcher in watchers:
        here.probing[watcher].cancel()
    here.fence.on_view(here.view())
    assert not watchers_of(ME, here.view(), OPTIONS)
    await asyncio.sleep(MINUTE)

    assert not logged(caplog, "self_fenced")
    assert not here.gate.closed

    lost = here.now
    here.table_is_there = False
    here.cut(*crowd)
    assert OPTIONS.fence_after - 2 * SEARCH_INTERVAL < await here.closed() - lost <= OPTIONS.fence_after


async def test_the_fence_is_lifted_by_the_table(world: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grange.membership")
    here = world(B)
    await asyncio.sleep(10)
    here.cut(B)
    here.table_is_there = False
    await here.closed()
    await asyncio.sleep(20)
    here.table_is_there = True
    began = here.now
    assert (
        await here.opened() <= began + TABLE_HEAD_START + SWEEP_TIMEOUT + 0.01
    )  # no silo answers: one search lasts this long
    assert [record.event for record in caplog.records] == ["self_fenced", "fence_lifted"]
    assert here.fence.fenced == ""


async def test_the_fence_is_lifted_by_a_majority_while_the_table_is_away(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10)
    here.cut(B, C)
    here.table_is_there = False
    await here.closed()
    here.heal(B)
    began = here.now
    assert await here.opened() <= began + 1.5


async def test_the_fence_stays_while_the_table_shows_the_silo_dead(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.cut(B)
    here.table_is_there = False
    await here.closed()
    here.statuses[ME] = DEAD
    here.table_is_there = True
    await asyncio.sleep(MINUTE)
    assert here.gate.closed


async def test_probes_alone_do_not_lift_the_fence(world: Make) -> None:
    """The probers may not yet know of a death that is already in the table."""
    here = world(B, C, D)
    await asyncio.sleep(10)
    here.cut(B, C, D)
    here.table_is_there = False
    await here.closed()
    for other in (B, C, D):
        here.probe(other)
    await asyncio.sleep(10)
    assert here.gate.closed


async def test_a_silo_that_is_fenced_for_too_long_gives_up(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.cut(B)
    here.table_is_there = False
    fenced = await here.closed()
    while not here.errors:
        await asyncio.sleep(0.1)
    assert here.now - fenced == pytest.approx(OPTIONS.fence_limit, abs=0.5)
    here.table_is_there = True
    await asyncio.sleep(MINUTE)
    assert len(here.errors) == 1
    assert here.gate.closed


async def test_a_silo_that_was_declared_dead_never_starts_turns_again(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.fence.end("this silo was declared dead")
    await asyncio.sleep(MINUTE)
    assert here.gate.fenced == "this silo was declared dead"
    assert here.reads == []


async def test_a_newer_version_from_the_probe_thread_reaches_the_event_loop(world: Make) -> None:
    here = world(B)
    here.liveness.probe_received(B, mutual=False, version=9)
    await asyncio.sleep(TICK + 0.01)
    assert 9 in here.hints


async def test_a_stopped_fence_examines_the_gate_no_more(world: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It is stopped between the last tick before the fence and the timer that this tick has set."""
    here = world(B)
    await off_the_ticks(here, B)
    due = here.liveness.contacts()[B] + OPTIONS.fence_after
    here.cut(B)
    here.table_is_there = False
    await asyncio.sleep(due - 0.05 - here.now)
    await here.close()
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed
    assert not logged(caplog, "self_fenced")


async def test_a_stopped_fence_measures_no_lag(world: Make) -> None:
    """The probe thread may still answer: it must not report a stopping silo as blocked."""
    here = world(B)
    await asyncio.sleep(10)
    await here.close()
    await asyncio.sleep(MINUTE)
    assert here.liveness.lag() == 0.0
