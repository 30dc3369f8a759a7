"""Pauses after failures, and throttled logs."""

from __future__ import annotations

import asyncio
import logging
import random

from hypothesis import given
from hypothesis import strategies as st

from grange.aio.backoff import Backoff
from grange.aio.throttled_log import ThrottledLog
from grange.errors import MembershipUnavailable
from grange.testing.loop import VirtualTime


@given(st.integers(), st.integers(1, 2000))
def test_pauses_grow_from_the_first_to_the_limit(seed, count):
    """MEM-08: at least 2 s, doubling, never over the limit, after any number of failures."""
    backoff = Backoff(2.0, 10.0, random.Random(seed))
    pauses = [backoff.pause() for _ in range(count)]
    assert all(2 <= pause <= 10 for pause in pauses)
    assert pauses[0] <= 3
    assert all(pause >= 7.5 for pause in pauses[3:])


def test_after_a_success_pauses_start_from_the_first():
    backoff = Backoff(2.0, 60.0, random.Random(1))
    grown = [backoff.pause() for _ in range(4)]
    backoff.reset()
    assert grown[-1] >= 16
    assert backoff.pause() <= 3


def test_silos_do_not_retry_in_step():
    pauses = {Backoff(2.0, 10.0, random.Random(seed)).pause() for seed in range(20)}
    assert len(pauses) == 20


async def test_a_failure_is_logged_ten_times_a_minute_and_counted(caplog):
    """F20: at most ten lines a minute, and each line left out is counted."""
    log = ThrottledLog(logging.getLogger("grange.membership"))
    with VirtualTime(asyncio.get_running_loop()).installed():
        for _ in range(70):
            log.warning("no view", MembershipUnavailable("no table"))
            await asyncio.sleep(1)
    assert [record.getMessage() for record in caplog.records] == [
        *["no view: no table"] * 9,
        "no view: no table (further ones are suppressed for 51 s)",
        "no view: no table (50 suppressed)",
        *["no view: no table"] * 8,
        "no view: no table (further ones are suppressed for 51 s)",
    ]
    assert not any(record.exc_info for record in caplog.records)


async def test_a_bug_is_logged_with_its_traceback(caplog):
    """An exception outside the error tree was not foreseen; the log must show its origin."""
    ThrottledLog(logging.getLogger("grange.membership")).warning("no view", KeyError("bug"))
    assert caplog.records[0].exc_info
