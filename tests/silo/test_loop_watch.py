"""The watch over the event loop: which time counts as dead, and what it does then. It is a thread, so time is real."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from grange import ConfigurationError, SiloAddress
from grange.membership.detection.liveness import Liveness
from grange.membership.model.options import MembershipOptions
from grange.observability.events import Events
from grange.silo.loop_watch import POLL_INTERVAL, DeadTime, LoopWatch, report_dead_loop

ME = SiloAddress("127.0.0.1", 1, 1)


def test_only_a_loop_that_does_not_tick_is_dead() -> None:
    dead = DeadTime()
    for tick in (1.0, 1.25, 1.5):
        dead.add(tick, POLL_INTERVAL)
        assert dead.seconds == 0
    for count in range(1, 5):
        dead.add(1.5, POLL_INTERVAL)
        assert dead.seconds == count * POLL_INTERVAL
    dead.add(4.0, POLL_INTERVAL)
    assert dead.seconds == 0


def test_a_stop_of_the_process_counts_as_one_step() -> None:
    """SIGSTOP, a paused machine, a debugger that stops all threads: this thread was late by as much."""
    dead = DeadTime()
    dead.add(1.0, POLL_INTERVAL)
    for _ in range(3):
        dead.add(1.0, 3600.0)
    assert dead.seconds == 6 * POLL_INTERVAL


def test_a_loop_that_is_not_measured_is_not_dead() -> None:
    """Before the silo joins, and after it has stopped."""
    dead = DeadTime()
    for _ in range(10):
        dead.add(None, POLL_INTERVAL)
    assert dead.seconds == 0


async def test_it_reports_a_dead_loop_once_and_again_after_it_has_lived(caplog: pytest.LogCaptureFixture) -> None:
    loop, alarms = asyncio.get_running_loop(), asyncio.Queue[str]()
    liveness = Liveness(time.monotonic)
    liveness.tick()

    def on_dead(alarm: str) -> None:
        report_dead_loop(alarm)
        loop.call_soon_threadsafe(alarms.put_nowait, alarm)

    watch = LoopWatch(Events(str(ME)), liveness, 0.5, on_dead)
    watch.start()
    try:
        async with asyncio.timeout(30):
            assert (await alarms.get()).startswith(f"the event loop of silo {ME} has been dead for")
            await asyncio.sleep(4 * POLL_INTERVAL)
            assert alarms.empty()
            liveness.tick()
            await alarms.get()
    finally:
        await asyncio.to_thread(watch.close)
    assert [(record.levelno, record.event) for record in caplog.records if record.levelno >= logging.ERROR] == [  # type: ignore[attr-defined]
        (logging.ERROR, "loop_dead")
    ] * 2


def test_a_pause_of_the_process_does_not_reach_the_limit() -> None:
    with pytest.raises(ConfigurationError, match=r"dead_loop_after .* must be at least twice pause_gap"):
        MembershipOptions(dead_loop_after=1.5)
    assert MembershipOptions(dead_loop_after=2.0)
