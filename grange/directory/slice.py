"""This silo's slice, with what belongs to it: what the parts of this room share."""

from __future__ import annotations

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.current import Current
from grange.directory.duplicates import Duplicates
from grange.directory.holding import Holding
from grange.directory.partition import Partition
from grange.directory.wiring import Wiring


class Slice(msgspec.Struct, frozen=True):
    """Built by `cluster.py`; `tasks` are awaited there."""

    wiring: Wiring
    current: Current
    partition: Partition
    holding: Holding
    duplicates: Duplicates
    tasks: Tasks


def make_slice(wiring: Wiring, current: Current, tasks: Tasks) -> Slice:
    """An empty slice."""
    partition = Partition()
    holding = Holding(partition.holds, current, tasks)
    return Slice(wiring, current, partition, holding, Duplicates(wiring, tasks), tasks)
