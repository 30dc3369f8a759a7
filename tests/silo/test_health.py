"""The answers to a supervisor, made from the parts of a silo: what counts for each question, and what does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from grange.directory.slice.partition import Partition
from grange.directory.slice.ranges import RangeSet
from grange.membership.model.hash_ring import RING_SIZE, Range
from grange.membership.model.member import SiloStatus
from grange.proto.ids import SiloAddress
from grange.proto.management import Phase
from grange.silo.health import Checks, Health, HealthParts, UnknownCheck, without

DEAD_AFTER = 60.0
ALL = RangeSet([Range(0, RING_SIZE)])
LIVE = frozenset({SiloAddress("silo", 1, 1), SiloAddress("silo", 2, 1)})


class Agent(msgspec.Struct):
    status: SiloStatus | None = SiloStatus.ACTIVE
    fenced: str = ""
    table: str = "ok"
    score: int = 0


class Shutdown(msgspec.Struct):
    phase: Phase = Phase.SERVING


class LoopWatch(msgspec.Struct):
    dead_seconds: float = 0.0


class Silo:
    """The parts that health looks at; a test changes them."""

    def __init__(self, has_ranges: bool = True) -> None:
        self.agent, self.shutdown, self.loop_watch = Agent(), Shutdown(), LoopWatch()
        self.health = Health()
        self.partition = Partition()
        parts: Any = self.agent, self.shutdown, self.loop_watch
        self.health.watch(
            HealthParts(
                agent=parts[0],
                partition=self.partition,
                shutdown=parts[1],
                loop_watch=parts[2],
                dead_after=DEAD_AFTER,
            )
        )
        if has_ranges:
            self.partition.advance(3, ALL, LIVE, reset=False)
            self.partition.ready(3, ALL)


def failing(checks: Checks) -> set[str]:
    return {name for name, check in checks.items() if not check.ok}


def test_before_the_silo_exists_it_lives_and_is_neither_started_nor_ready() -> None:
    health = Health()
    assert not failing(health.live())
    assert failing(health.started())
    assert failing(health.ready())


def test_a_silo_that_serves_passes_all_checks() -> None:
    silo = Silo()
    silo.health.joined()
    assert not failing(silo.health.live()) | failing(silo.health.ready()) | failing(silo.health.started())


@pytest.mark.parametrize(("seconds", "lives"), [(0.0, True), (59.9, True), (60.0, False), (400.0, False)])
def test_a_loop_that_stands_still_for_a_minute_is_not_live(seconds: float, lives: bool) -> None:
    silo = Silo()
    silo.loop_watch.dead_seconds = seconds
    assert failing(silo.health.live()) == (set() if lives else {"loop"})


def test_liveness_looks_at_nothing_outside_of_the_process() -> None:
    """A restart cures no outage of a database, and a fence ends by itself."""
    silo = Silo()
    silo.agent.status, silo.agent.fenced, silo.agent.score = None, "for 5 s: cut off", 8
    for table in ("unreachable", "lost"):
        silo.agent.table = table
        assert not failing(silo.health.live())


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.SERVING])
def test_a_silo_is_not_ready_from_the_first_moment_of_its_drain(phase: Phase) -> None:
    """The table shows it as active until the write of LEAVING has succeeded."""
    silo = Silo()
    silo.shutdown.phase = phase
    assert failing(silo.health.ready()) == {"draining"}
    assert not failing(silo.health.live())


@pytest.mark.parametrize("status", [None, SiloStatus.JOINING, SiloStatus.LEAVING, SiloStatus.DEAD])
def test_only_an_active_silo_is_ready(status: SiloStatus | None) -> None:
    silo = Silo()
    silo.agent.status = status
    assert failing(silo.health.ready()) == {"active"}


def test_a_fenced_silo_is_not_ready_and_says_why() -> None:
    silo = Silo()
    silo.agent.fenced = "for 5 s: no silo probes this one"
    assert failing(silo.health.ready()) == {"fenced"}
    assert "no silo probes this one" in silo.health.ready()["fenced"].text


def test_a_silo_is_ready_when_its_ranges_have_been_handed_over() -> None:
    """A roll goes on when the newest silo is ready, so it must not be ready too early.

    Its view may reach membership a moment before the directory.
    """
    silo = Silo(has_ranges=False)
    assert failing(silo.health.ready()) == {"ranges"}
    silo.partition.advance(3, ALL, LIVE, reset=False)
    assert failing(silo.health.ready()) == {"ranges"}
    silo.partition.ready(3, ALL)
    assert not failing(silo.health.ready())


def test_ranges_that_a_silo_gains_later_do_not_make_it_unready() -> None:
    """After a crash every silo recovers some; if all were unready, clients would find none."""
    silo = Silo()
    silo.partition.advance(4, RangeSet([Range(0, RING_SIZE // 2)]), LIVE, reset=False)
    silo.partition.advance(5, ALL, LIVE, reset=False)
    assert silo.partition.not_ready
    assert not failing(silo.health.ready())


def test_a_silo_stays_started() -> None:
    silo = Silo()
    silo.health.joined()
    silo.shutdown.phase = Phase.MOVING
    silo.agent.status = SiloStatus.DEAD
    assert not failing(silo.health.started())


def test_a_check_is_left_out_by_its_name() -> None:
    silo = Silo()
    silo.shutdown.phase = Phase.LEAVING
    assert not failing(without(silo.health.ready(), ["draining"]))
    with pytest.raises(UnknownCheck, match="'drain'"):
        without(silo.health.ready(), ["drain"])
