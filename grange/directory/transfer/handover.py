"""The previous owner's side of a hand-over: keeps sealed entries until the new owners have fetched them.

This is the view-synchronous hand-over of Orleans' DistributedGrainDirectory. A new owner names the view in which it
gained the ranges. This silo answers only under that view or a newer one, so it decides nothing about those ranges after
its answer. ADR 0023 argues it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from grange.aio.signal import Signal
from grange.directory.slice.deps import Slice
from grange.directory.slice.messages import (
    FetchSnapshot,
    SnapshotPage,
    SnapshotTaken,
    decode,
    encode,
    to_entry,
    to_pairs,
    to_ranges,
)
from grange.directory.slice.partition import Sealed
from grange.directory.slice.topology import Topology
from grange.directory.transfer.snapshots import Snapshot, Snapshots
from grange.proto.ids import SiloAddress

logger = logging.getLogger("grange.directory")


class Handover:
    """The snapshots of this silo, each with its deadline. A silo that leaves waits for them (`handed_over`)."""

    def __init__(self, slice: Slice) -> None:
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._hold_timers = slice.hold_timers
        self._tasks = slice.tasks
        self._snapshots = Snapshots()
        self._changed = Signal()

    def __len__(self) -> int:
        return len(self._snapshots)

    def keep(self, sealed: Sealed, after: Topology) -> None:
        """Keep the entries of ranges that this silo lost with the view `after`."""
        snapshot = self._snapshots.add(sealed, after.ring)
        if snapshot is not None:
            self._tasks.start(self._drop_in_time(snapshot))

    def on_silos_gone(self, gone: Iterable[SiloAddress]) -> None:
        """Drop the snapshots that only these silos could fetch."""
        self._snapshots.on_silos_gone(gone)
        self._changed.fire()

    async def answer_take(self, data: bytes) -> bytes:
        """The system target `directory.take`: one page of the entries sealed with the view of this version."""
        request = decode(FetchSnapshot, data)
        options = self._deps.options
        if not await self._current.reach(request.version, options.ready_wait):
            return encode(SnapshotPage(self._current.topology.version, behind=True))
        ranges = to_ranges(request.ranges)
        missing = self._snapshots.missing(request.version, ranges)
        page, rest = self._snapshots.page(request.version, ranges, options.transfer_page)
        answer = SnapshotPage(
            self._current.topology.version,
            tuple(to_entry(address) for address in page),
            to_pairs(rest),
            to_pairs(missing),
            holds=self._hold_timers.remaining,
            in_doubt=to_pairs(self._partition.holds.in_doubt & ranges),
        )
        return encode(answer)

    async def answer_taken(self, data: bytes) -> bytes:
        """The system target `directory.taken`: drop the acknowledged ranges."""
        request = decode(SnapshotTaken, data)
        self._snapshots.acknowledge(request.version, to_ranges(request.ranges))
        self._changed.fire()
        return b""

    async def handed_over(self, seconds: float) -> bool:
        """Wait up to `seconds` until each snapshot was fetched or is not needed. Returns whether none is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._snapshots and (left := until - loop.time()) > 0:
            await self._changed.wait(left)
        return not self._snapshots

    async def _drop_in_time(self, snapshot: Snapshot) -> None:
        await asyncio.sleep(self._deps.options.snapshot_keep)
        if self._snapshots.drop(snapshot):
            logger.info("the snapshot of view %d was not fetched in time and is dropped", snapshot.sealed.version)
            self._changed.fire()
