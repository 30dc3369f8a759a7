"""This silo's slice, with what belongs to it: what the parts of this room share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.deps import DirectoryDeps
from grange.directory.slice.hold_timers import HoldTimers
from grange.directory.slice.partition import Conflict, Partition


class Slice(msgspec.Struct, frozen=True):
    """Built by `cluster.py`; `tasks` are awaited there."""

    deps: DirectoryDeps
    current: CurrentView
    partition: Partition
    hold_timers: HoldTimers
    report: Callable[[Iterable[Conflict]], None]
    tasks: Tasks


def make_slice(
    deps: DirectoryDeps, current: CurrentView, tasks: Tasks, report: Callable[[Iterable[Conflict]], None]
) -> Slice:
    """An empty slice."""
    partition = Partition()
    hold_timers = HoldTimers(partition.holds, current, tasks)
    return Slice(deps, current, partition, hold_timers, report, tasks)
