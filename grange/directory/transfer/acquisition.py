"""Filling a range that this silo has just gained: from the owner before, else from the hosts.

The owner before hands over what it had sealed (`handover.py`). That is complete: it has decided nothing since, and
whatever it decided before is in it, told to the host or not. Where there is no such owner, or its answer does not
come within `transfer_timeout`, every live silo is asked (`recovery.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from grange.directory.slice.messages import (
    TAKE,
    TAKEN,
    Handed,
    Take,
    Taken,
    decode,
    encode,
    to_address,
    to_pairs,
    to_ranges,
)
from grange.directory.slice.ranges import RangeSet
from grange.directory.slice.slice import Slice
from grange.directory.slice.topology import Topology, previous_owners
from grange.directory.transfer.recovery import Recovery
from grange.errors import GrangeError, SiloUnavailable
from grange.proto.ids import GrainAddress, SiloAddress

logger = logging.getLogger(__name__)


class RangeAcquisition:
    """The new owner's side of a hand-over. Used by `service.py`."""

    def __init__(self, slice: Slice, recovery: Recovery) -> None:
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._hold_timers = slice.hold_timers
        self._report = slice.report
        self._tasks = slice.tasks
        self._recovery = recovery
        self._pulling: dict[SiloAddress, set[asyncio.Task[RangeSet]]] = {}

    def begin(self, before: Topology, after: Topology, gained: RangeSet) -> None:
        """Fill what the partition has gained with the view `after`."""
        rest = gained
        for silo, ranges in previous_owners(before, after, self._deps.me, gained).items():
            rest -= ranges
            self._tasks.start(self._take_over(after.version, silo, ranges))
        if rest:
            self._recovery.begin(after.version, rest)

    def silos_gone(self, gone: Iterable[SiloAddress]) -> None:
        """These died: they hand over nothing more."""
        for silo in gone:
            for task in self._pulling.get(silo, ()):
                task.cancel()

    async def _take_over(self, version: int, silo: SiloAddress, ranges: RangeSet) -> None:
        # A task of its own, so that `silos_gone` can end it, and only it. Whatever its end is, the rest is recovered.
        pull = self._tasks.start(self._pull(version, silo, ranges))
        self._pulling.setdefault(silo, set()).add(pull)
        pull.add_done_callback(self._pulling[silo].discard)
        await asyncio.wait({pull})
        missing = ranges if pull.cancelled() or pull.exception() is not None else pull.result()
        missing &= self._partition.recovering(version)
        if missing:
            self._recovery.begin(version, missing)
        if silo in self._current.topology.live:
            await self._say_taken(version, silo, ranges)

    async def _pull(self, version: int, silo: SiloAddress, ranges: RangeSet) -> RangeSet:
        """Fetch, and take in once all is here. Returns the ranges that could not be had."""
        loop = asyncio.get_running_loop()
        options = self._deps.options
        pages: list[list[GrainAddress]] = []
        rest, missing, began = ranges, RangeSet(), loop.time()
        pause, until = options.retry_first, began + options.transfer_timeout
        while rest:
            try:
                handed = await self._ask(version, silo, rest, until - loop.time())
            except Exception as error:
                # Whatever it is: the deadline ends it, and the hosts are asked instead.
                if (left := until - loop.time()) <= 0:
                    logger.warning("silo %s did not hand over its ranges of view %d: %s", silo, version, error)
                    return ranges
                await self._current.changed.wait(min(pause, left))
                pause = min(2 * pause, options.retry_limit)
                continue
            pages.append([to_address(entry) for entry in handed.entries])
            missing |= to_ranges(handed.missing)
            rest = to_ranges(handed.rest)
            self._hold_timers.carried(handed.holds, to_ranges(handed.doubtful))
            until = loop.time() + options.transfer_timeout
        for page in pages:
            self._report(self._partition.merge(version, page))
            await asyncio.sleep(0)
        self._partition.ready(version, ranges - missing)
        self._current.changed.fire()
        entries, seconds = sum(map(len, pages)), loop.time() - began
        logger.info("silo %s handed over %d entries with view %d in %.3f s", silo, entries, version, seconds)
        return missing

    async def _ask(self, version: int, silo: SiloAddress, ranges: RangeSet, seconds: float) -> Handed:
        question = encode(Take(version, to_pairs(ranges)))
        timeout = min(self._deps.options.ask_timeout, seconds)
        handed = decode(Handed, await self._deps.ask(silo, TAKE, question, timeout))
        if handed.behind:
            raise SiloUnavailable(f"it is at view {handed.version} and cannot get view {version}")
        return handed

    async def _say_taken(self, version: int, silo: SiloAddress, ranges: RangeSet) -> None:
        question = encode(Taken(version, to_pairs(ranges)))
        try:
            await self._deps.ask(silo, TAKEN, question, self._deps.options.ask_timeout)
        except GrangeError as error:
            logger.info("silo %s was not told that its snapshot of view %d was taken: %s", silo, version, error)
