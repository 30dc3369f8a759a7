"""Fills a range that this silo has just gained: from the previous owner, else from the hosts.

The previous owner hands over the entries that it sealed (`handover.py`). They are complete: the previous owner decides
nothing about the range after sealing it, and every earlier decision is in its entries, even if its reply never reached
the host. If there is no such owner, or no page of it arrives within `transfer_timeout`, every live silo is asked
(`recovery.py`). ADR 0023 argues it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from grange.directory.slice.deps import Slice
from grange.directory.slice.messages import (
    TAKE,
    TAKEN,
    FetchSnapshot,
    SnapshotPage,
    SnapshotTaken,
    decode,
    encode,
    to_address,
    to_pairs,
    to_ranges,
)
from grange.directory.slice.ranges import RangeSet
from grange.directory.slice.repetition import Repetition
from grange.directory.slice.topology import Topology, previous_owners
from grange.directory.transfer.recovery import Recovery
from grange.errors import GrangeError, SiloUnavailable
from grange.proto.ids import GrainAddress, SiloAddress

logger = logging.getLogger("grange.directory")


class RangeAcquisition:
    """The new owner's side of a hand-over. Used by `service.py`."""

    def __init__(self, slice: Slice, recovery: Recovery) -> None:
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._hold_timers = slice.hold_timers
        self._report_conflicts = slice.report_conflicts
        self._tasks = slice.tasks
        self._recovery = recovery
        self._fetching: dict[SiloAddress, set[asyncio.Task[RangeSet]]] = {}

    def begin(self, before: Topology, after: Topology, gained: RangeSet) -> None:
        """Fill the ranges that the partition has gained with the view `after`. Does not wait."""
        rest = gained
        for silo, ranges in previous_owners(before, after, self._deps.me, gained).items():
            rest -= ranges
            self._tasks.start(self._take_over(after.version, silo, ranges))
        if rest:
            self._recovery.begin(after.version, rest)

    def on_silos_gone(self, gone: Iterable[SiloAddress]) -> None:
        """Stop fetching from these silos."""
        for silo in gone:
            for task in self._fetching.get(silo, ()):
                task.cancel()

    async def _take_over(self, version: int, silo: SiloAddress, ranges: RangeSet) -> None:
        # The fetch is a task of its own, so that `on_silos_gone` can cancel it alone. However it ends, ranges that it
        # did not fill are recovered from the hosts.
        fetch = self._tasks.start(self._fetch(version, silo, ranges))
        self._fetching.setdefault(silo, set()).add(fetch)
        fetch.add_done_callback(self._fetching[silo].discard)
        await asyncio.wait({fetch})
        missing = ranges if fetch.cancelled() or fetch.exception() is not None else fetch.result()
        missing &= self._partition.recovering(version)
        if missing:
            self._recovery.begin(version, missing)
        if silo in self._current.topology.live:
            await self._acknowledge(version, silo, ranges)

    async def _fetch(self, version: int, silo: SiloAddress, ranges: RangeSet) -> RangeSet:
        """Fetch all pages, then merge them. Returns the ranges that the previous owner did not hand over."""
        loop = asyncio.get_running_loop()
        options = self._deps.options
        pages: list[list[GrainAddress]] = []
        rest, missing, began = ranges, RangeSet(), loop.time()
        repetition = Repetition(self._current, options, self._deps.rng)
        until = began + options.transfer_timeout
        while rest:
            repetition.begin()
            try:
                page = await self._request_page(version, silo, rest, until - loop.time())
            except Exception as error:
                # Any error is retried until the deadline. After it the hosts are asked instead.
                if (left := until - loop.time()) <= 0:
                    logger.warning("silo %s did not hand over its ranges of view %d: %s", silo, version, error)
                    return ranges
                await repetition.pause(left)
                continue
            pages.append([to_address(entry) for entry in page.entries])
            missing |= to_ranges(page.missing)
            rest = to_ranges(page.rest)
            self._hold_timers.adopt(page.holds, to_ranges(page.in_doubt))
            until = loop.time() + options.transfer_timeout
        for addresses in pages:
            self._report_conflicts(self._partition.merge(version, addresses))
            await asyncio.sleep(0)
        self._partition.ready(version, ranges - missing)
        self._current.changed.fire()
        entries, seconds = sum(map(len, pages)), loop.time() - began
        self._deps.figures.transfers.observe(seconds)
        logger.info("silo %s handed over %d entries with view %d in %.3f s", silo, entries, version, seconds)
        return missing

    async def _request_page(self, version: int, silo: SiloAddress, ranges: RangeSet, seconds: float) -> SnapshotPage:
        request = encode(FetchSnapshot(version, to_pairs(ranges)))
        timeout = min(self._deps.options.ask_timeout, seconds)
        page = decode(SnapshotPage, await self._deps.ask(silo, TAKE, request, timeout))
        if page.behind:
            raise SiloUnavailable(f"it is at view {page.version} and cannot get view {version}")
        return page

    async def _acknowledge(self, version: int, silo: SiloAddress, ranges: RangeSet) -> None:
        request = encode(SnapshotTaken(version, to_pairs(ranges)))
        try:
            await self._deps.ask(silo, TAKEN, request, self._deps.options.ask_timeout)
        except GrangeError as error:
            logger.info("silo %s got no acknowledgement of its snapshot of view %d: %s", silo, version, error)
