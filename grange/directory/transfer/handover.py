"""The old owner's side of a hand-over: keeps what was sealed until the new owners have fetched it.

The view-synchronous hand-over of Orleans' DistributedGrainDirectory. Whoever asks names the view in which it gained
the ranges; it is answered only under that view or a newer one, so no decision about them is made after the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from grange.aio.signal import Signal
from grange.directory.slice.messages import Handed, Take, Taken, decode, encode, to_entry, to_pairs, to_ranges
from grange.directory.slice.partition import Sealed
from grange.directory.slice.slice import Slice
from grange.directory.slice.topology import Topology
from grange.directory.transfer.snapshots import Snapshot, Snapshots
from grange.proto.ids import SiloAddress

logger = logging.getLogger(__name__)


class Handover:
    """Snapshots with their deadline. `silo/shutdown.py` waits for them when the silo leaves."""

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
        """Ranges have left with this view."""
        snapshot = self._snapshots.add(sealed, after.ring)
        if snapshot is not None:
            self._tasks.start(self._drop_in_time(snapshot))

    def silos_gone(self, gone: Iterable[SiloAddress]) -> None:
        """These died: what was meant for them is not fetched any more."""
        self._snapshots.silos_gone(gone)
        self._changed.fire()

    async def answer_take(self, data: bytes) -> bytes:
        """The system target `directory.take`: what we had in these ranges until the view of this version."""
        question = decode(Take, data)
        options = self._deps.options
        if not await self._current.reach(question.version, options.ready_wait):
            return encode(Handed(self._current.topology.version, behind=True))
        ranges = to_ranges(question.ranges)
        missing = self._snapshots.missing(question.version, ranges)
        page, rest = self._snapshots.page(question.version, ranges, options.transfer_page)
        answer = Handed(
            self._current.topology.version,
            tuple(to_entry(address) for address in page),
            to_pairs(rest),
            to_pairs(missing),
            holds=self._hold_timers.remaining,
            doubtful=to_pairs(self._partition.holds.doubtful & ranges),
        )
        return encode(answer)

    async def answer_taken(self, data: bytes) -> bytes:
        """The system target `directory.taken`: forget these."""
        question = decode(Taken, data)
        self._snapshots.taken(question.version, to_ranges(question.ranges))
        self._changed.fire()
        return b""

    async def handed_over(self, seconds: float) -> bool:
        """Wait until every snapshot was fetched, or is not needed any more; at most so long. True: none is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._snapshots and (left := until - loop.time()) > 0:
            await self._changed.wait(left)
        return not self._snapshots

    async def _drop_in_time(self, snapshot: Snapshot) -> None:
        await asyncio.sleep(self._deps.options.snapshot_keep)
        if self._snapshots.drop(snapshot):
            logger.info("what left with view %d was not fetched in time and is dropped", snapshot.sealed.version)
            self._changed.fire()
