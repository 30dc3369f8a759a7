"""Readiness, check by check: a roll goes on when the newest silo is ready, so it must not be ready too early."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from grange.directory.slice.partition import Partition
from grange.directory.slice.ranges import RangeSet
from grange.membership.model.hash_ring import RING_SIZE, Range
from grange.membership.model.member import SiloStatus
from grange.proto.ids import SiloAddress
from grange.proto.management import Phase
from grange.silo.health import Health, HealthParts

ALL = RangeSet([Range(0, RING_SIZE)])
LIVE = frozenset({SiloAddress("silo", 1, 1), SiloAddress("silo", 2, 1)})


def health(partition: Partition, **changed: Any) -> Health:
    facts = {"status": SiloStatus.ACTIVE, "fenced": "", "phase": Phase.SERVING} | changed
    parts: Any = HealthParts
    made = Health()
    made.watch(
        parts(
            agent=SimpleNamespace(status=facts["status"], fenced=facts["fenced"]),
            partition=partition,
            shutdown=SimpleNamespace(phase=facts["phase"]),
            loop_watch=SimpleNamespace(dead_seconds=0.0),
            dead_after=60.0,
        )
    )
    return made


def taken_over() -> Partition:
    partition = Partition()
    partition.advance(3, ALL, LIVE, reset=False)
    partition.ready(3, ALL)
    return partition


def failing(health: Health) -> set[str]:
    return {name for name, check in health.ready().items() if not check.ok}


def test_a_silo_is_ready_when_its_ranges_have_been_handed_over() -> None:
    partition = Partition()
    joined = health(partition)
    assert failing(joined) == {"ranges"}, "its view may arrive a moment before the directory's"
    partition.advance(3, ALL, LIVE, reset=False)
    assert failing(joined) == {"ranges"}
    partition.ready(3, ALL)
    assert failing(joined) == set()


def test_ranges_that_a_silo_gains_later_do_not_make_it_unready() -> None:
    """After a crash every silo recovers some; if all were unready, clients would find none."""
    partition = taken_over()
    partition.advance(4, RangeSet([Range(0, RING_SIZE // 2)]), LIVE, reset=False)
    partition.advance(5, ALL, LIVE, reset=False)
    assert partition.not_ready
    assert failing(health(partition)) == set()


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"status": SiloStatus.JOINING}, "active"),
        ({"status": SiloStatus.LEAVING}, "active"),
        ({"phase": Phase.LEAVING}, "draining"),
        ({"fenced": "without proof of membership"}, "fenced"),
    ],
)
def test_a_silo_that_joins_leaves_or_is_fenced_is_not_ready(changed: dict[str, Any], check: str) -> None:
    assert failing(health(taken_over(), **changed)) == {check}
