"""Probes: at fixed intervals, each silo by itself, only watched silos; after a miss also through a third silo."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import contextmanager

import pytest

from grange.membership.detection.detector import ProbeResult
from grange.membership.detection.gossip import IndirectProbeResult
from grange.membership.detection.liveness import Liveness
from grange.membership.detection.prober import FINAL_PROBE_TIMEOUT, Prober
from grange.membership.model.options import MembershipOptions
from grange.testing.loop import VirtualTime
from tests.membership.cluster import address

ONE, TWO, MIDDLE = address(1), address(2), address(3)
OPTIONS = MembershipOptions()


class Script:
    """Answers probes as the test says, after a delay; counts probes and suspicions."""

    def __init__(self) -> None:
        self.silent: set = set()
        self.takes = 0.0
        self.liveness = Liveness(lambda: 0.0)
        self.through = IndirectProbeResult.FAILED
        self.probes: Counter = Counter()
        self.timeouts: list[float] = []
        self.asked: list = []
        self.suspected: list[tuple[float, object]] = []
        self.prober = Prober(self, self.suspect, OPTIONS, random.Random(3), self.liveness)

    async def probe(self, silo, timeout: float) -> ProbeResult:
        self.probes[silo] += 1
        self.timeouts.append(timeout)
        await asyncio.sleep(min(self.takes, timeout))
        return ProbeResult.MISSED if silo in self.silent else ProbeResult.ANSWERED

    async def probe_through(self, middle, silo, timeout: float, patience: float) -> IndirectProbeResult:
        self.asked.append(middle)
        await asyncio.sleep(self.takes)
        return self.through

    async def suspect(self, suspicion) -> None:
        self.suspected.append((asyncio.get_running_loop().time(), suspicion))


@contextmanager
def script():
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        made = Script()
        made.time = time
        yield made


async def test_one_probe_in_an_interval_however_long_the_answer_takes():
    """The interval is from start to start: a slow answer does not stretch it."""
    with script() as s:
        s.takes = 0.9 * OPTIONS.probe_interval
        s.prober.watch([ONE, TWO])
        await asyncio.sleep(100 * OPTIONS.probe_interval)
        await s.prober.close()
    assert all(99 <= count <= 101 for count in s.probes.values())
    assert set(s.probes) == {ONE, TWO}


@pytest.mark.parametrize("takes", [0.0, 0.5, 0.75])
async def test_a_suspicion_after_three_misses_but_not_before_it_is_allowed(takes):
    """MEM-09, and decision 1: never sooner than `vote_after` from the start of the first missed probe."""
    with script() as s:
        s.silent.add(ONE)
        s.takes = takes
        s.prober.watch([ONE, TWO])
        await asyncio.sleep(20)
        await s.prober.close()
    assert {suspicion.silo for _, suspicion in s.suspected} == {ONE}
    when, first = s.suspected[0]
    assert first.silence.missed >= OPTIONS.missed_limit
    slower = 2 * (OPTIONS.probe_timeout - OPTIONS.probe_timeout_min)  # its time-out has not adapted yet
    assert when - first.silence.began == pytest.approx(OPTIONS.vote_after + slower)
    assert len(s.suspected) > 2


async def test_a_silo_that_answers_the_final_probe_is_not_suspected():
    """Three misses, and a recovery before the vote is allowed: a pause of three seconds causes no death."""
    with script() as s:
        s.silent.add(ONE)
        s.prober.watch([ONE])
        while s.probes[ONE] < 3:
            await asyncio.sleep(0.01)
        s.silent.clear()
        await asyncio.sleep(10)
        await s.prober.close()
    assert s.suspected == []


async def test_a_silo_in_doubt_is_asked_through_a_third_silo():
    """MEM-11: after direct failures, through a silo other than the suspect; its result makes it a witness."""
    with script() as s:
        s.silent.add(ONE)
        s.prober.watch([ONE], (ONE, MIDDLE))
        await asyncio.sleep(5)
        await s.prober.close()
    assert set(s.asked) == {MIDDLE}
    assert s.probes[ONE] >= OPTIONS.missed_limit
    assert s.suspected[0][1].witness == MIDDLE


async def test_an_answer_that_comes_after_later_questions_ends_the_doubt():
    """A pause of two seconds: each question waits until the vote, so the answer to the first of them counts."""
    with script() as s:
        s.takes = 2.0
        s.prober.watch([ONE], (MIDDLE,))
        await asyncio.sleep(60)
        await s.prober.close()
    assert s.suspected == []
    assert s.probes[ONE] > 20


async def test_after_a_doubt_a_probe_comes_no_sooner_than_an_interval_after_the_last_question():
    """R5: a probe proves contact as of one interval after the one before, so it must not be sent sooner."""
    with script() as s:
        s.silent.add(ONE)
        s.prober.watch([ONE])
        while s.probes[ONE] < 3:
            await asyncio.sleep(0.01)
        asked = asyncio.get_running_loop().time()
        s.silent.clear()
        while s.probes[ONE] < 5:  # one more question is answered, then the next probe follows
            await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - asked >= 2 * OPTIONS.probe_interval - 0.02
        await s.prober.close()
    assert s.suspected == []


async def test_every_question_but_one_may_be_lost():
    """One answer in a doubt is enough: here only the last question before the vote is answered."""
    with script() as s:
        s.silent.add(ONE)
        s.prober.watch([ONE])
        while s.probes[ONE] < 4:
            await asyncio.sleep(0.01)
        s.silent.clear()
        await asyncio.sleep(10)
        await s.prober.close()
    assert s.suspected == []


async def test_the_final_question_is_asked_by_a_loop_whose_timers_are_late(monkeypatch):
    """As those of every real loop: it wakes just after the time, not at it."""
    jump = VirtualTime._jump

    def jump_too_far(time, timeout):
        jump(time, timeout)
        time._now += 0.001 if timeout else 0.0

    monkeypatch.setattr(VirtualTime, "_jump", jump_too_far)
    asked = []
    with script() as s:

        async def probe(silo, timeout):
            asked.append(asyncio.get_running_loop().time())
            return ProbeResult.MISSED

        s.probe = probe
        s.prober.watch([ONE])
        while not s.suspected:
            await asyncio.sleep(0.1)
        await s.prober.close()
    voted, _ = s.suspected[0]
    assert voted - max(time for time in asked if time < voted) == pytest.approx(FINAL_PROBE_TIMEOUT, abs=0.02)


async def test_a_vote_comes_later_by_the_time_for_which_the_prober_was_late():
    """An answer that it could not read meanwhile is no silence."""
    with script() as s:
        s.silent.add(ONE)
        s.prober.watch([ONE])
        while s.probes[ONE] < 3:
            await asyncio.sleep(0.001)
        await asyncio.sleep(OPTIONS.probe_interval - 0.01)
        s.time._now += 0.3
        await asyncio.sleep(10)
        await s.prober.close()
    when, first = s.suspected[0]
    slower = 2 * (OPTIONS.probe_timeout - OPTIONS.probe_timeout_min)
    assert when - first.silence.began == pytest.approx(OPTIONS.vote_after + slower + 0.29, abs=0.01)


async def test_a_prober_that_stood_still_begins_anew():
    """The silence before proves nothing: this process may have been the cause."""
    with script() as s:
        s.silent.add(ONE)
        s.prober.watch([ONE])
        while s.probes[ONE] < 3:
            await asyncio.sleep(0.001)
        await asyncio.sleep(OPTIONS.probe_interval - 0.01)
        s.time._now += 1.0
        stood_still = s.time.time()
        await asyncio.sleep(10)
        await s.prober.close()
    assert s.suspected[0][1].silence.began >= stood_still


async def test_more_misses_than_fit_before_a_vote_take_longer():
    """`missed_limit` counts questions, and one is asked in each interval."""
    options = MembershipOptions(missed_limit=12)
    with script() as s:
        s.silent.add(ONE)
        prober = Prober(s, s.suspect, options, random.Random(3), s.liveness)
        prober.watch([ONE])
        await asyncio.sleep(20)
        await prober.close()
    when, first = s.suspected[0]
    assert when - first.silence.began >= 11 * options.probe_interval


async def test_an_answer_after_a_pause_makes_no_time_out_longer():
    """It is later than the time-out of its question: it shows a pause, not a slow line."""
    with script() as s:
        timeouts: list[float] = []
        paused = False

        async def probe(silo, timeout):
            timeouts.append(timeout)
            took = 2.0 if paused else 0.0
            await asyncio.sleep(min(took, timeout))
            return ProbeResult.ANSWERED if took < timeout else ProbeResult.MISSED

        s.probe = probe
        s.prober.watch([ONE])
        await asyncio.sleep(6)
        paused = True
        await asyncio.sleep(0.6)
        while max(timeouts[-3:]) < 2.0:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.5)
        paused = False
        await asyncio.sleep(6)
        await s.prober.close()
    assert s.suspected == []
    assert timeouts[-1] == OPTIONS.probe_timeout_min


async def test_a_silo_reached_by_a_third_silo_lives():
    """MEM-11, F11: only the connection from here is cut."""
    with script() as s:
        s.silent.add(ONE)
        s.through = IndirectProbeResult.REACHED
        s.prober.watch([ONE], (MIDDLE,))
        await asyncio.sleep(60)
        await s.prober.close()
    assert s.suspected == []
    assert len(s.asked) >= 15


async def test_a_third_silo_that_is_not_healthy_is_no_witness():
    """MEM-11: its result is not counted; it is not asked again until the membership changes."""
    with script() as s:
        s.silent.add(ONE)
        s.through = IndirectProbeResult.DEGRADED
        s.prober.watch([ONE], (MIDDLE, TWO))
        while len(s.asked) < 2:
            await asyncio.sleep(0.1)
        assert s.suspected == []
        assert s.prober._detector.missed_in_row(ONE) == 2
        await asyncio.sleep(20)
        assert sorted(s.asked) == [TWO, MIDDLE]
        assert {suspicion.witness for _, suspicion in s.suspected} == {None}
        s.prober.watch([ONE], (MIDDLE,))
        await asyncio.sleep(2)
        assert len(s.asked) == 3
        await s.prober.close()


async def test_a_third_silo_that_does_not_answer_gives_a_miss_without_witness():
    """One vote, not two."""
    with script() as s:
        s.silent.add(ONE)
        s.through = IndirectProbeResult.NO_ANSWER
        s.prober.watch([ONE], (MIDDLE,))
        await asyncio.sleep(5)
        await s.prober.close()
    assert s.suspected
    assert s.suspected[0][1].witness is None


async def test_a_result_that_the_prober_may_have_caused_is_not_counted():
    """The time-out of the probe fired late: this process was stopped, not the probed silo."""
    with script() as s:

        async def late(silo, timeout):
            return ProbeResult.UNKNOWN

        s.probe = late
        s.prober.watch([ONE], (MIDDLE,))
        await asyncio.sleep(60)
        await s.prober.close()
    assert s.suspected == []
    assert s.asked == []


async def test_time_outs_adapt_and_are_stretched_by_the_local_health():
    """MEM-12: the first time-out at first, the shortest after answers without delay, times 1 + score."""
    with script() as s:
        s.prober.watch([ONE])
        await asyncio.sleep(6)
        assert s.timeouts[:4] == [OPTIONS.probe_timeout] * 4
        assert s.timeouts[-1] == 0.5
        s.liveness.score = 3
        await asyncio.sleep(1)
        assert s.timeouts[-1] == 2.0
        await s.prober.close()


async def test_a_change_of_view_keeps_the_misses_of_silos_that_stay_watched():
    """Otherwise a cluster with a new view each second would never find its dead."""
    with script() as s:
        s.silent.add(ONE)
        for _ in range(8):
            s.prober.watch([ONE])
            await asyncio.sleep(0.5)
            s.prober.watch([ONE, TWO])
            await asyncio.sleep(0.5)
        await s.prober.close()
    assert s.suspected
    assert s.probes[ONE] >= 6


async def test_a_silo_that_is_not_watched_any_more_is_not_probed():
    """It is forgotten, too: watched again, it starts with no misses."""
    with script() as s:
        s.silent.add(ONE)
        s.prober.watch([ONE])
        await asyncio.sleep(2.0)
        s.prober.watch([])
        assert s.prober.watched == frozenset()
        before = s.probes[ONE]
        await asyncio.sleep(10)
        assert s.probes[ONE] == before
        s.prober.watch([ONE])
        await asyncio.sleep(2.0)
        assert not s.suspected
        await s.prober.close()
        await asyncio.sleep(10)
        assert not s.suspected
