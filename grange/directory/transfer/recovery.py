"""Fills a range that no silo can hand over: asks every live silo for its registered activations there.

This is the view-synchronous recovery of Orleans' DistributedGrainDirectory. A request names the view that gave this
silo the range, and is answered only under that view or a newer one. Therefore each registration with an earlier owner
is either part of the host's answer, or the host makes it again with this silo (`slice/local_registrations.py`). When
every live silo has answered, or has died in a newer view, the range is ready. ADR 0020 argues it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable
from itertools import islice

from grange.directory.slice.deps import Slice
from grange.directory.slice.local_registrations import LocalRegistrations, page_of
from grange.directory.slice.messages import (
    RECOVER,
    Recover,
    Recovered,
    decode,
    encode,
    to_address,
    to_entry,
    to_pairs,
    to_ranges,
)
from grange.directory.slice.ranges import RangeSet
from grange.directory.slice.repetition import Repetition
from grange.errors import SiloUnavailable
from grange.observability.catalogue import RangeRecoveringLong
from grange.proto.ids import GrainAddress, SiloAddress

logger = logging.getLogger("grange.directory")

WARN_AFTER = 8.0
"""Seconds without a silo's answer before a warning: by then a dead silo should have been declared dead."""


class Recovery:
    """Sends and answers recovery requests. Used by `service.py`."""

    def __init__(self, slice: Slice, registrations: LocalRegistrations) -> None:
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._hold_timers = slice.hold_timers
        self._report_conflicts = slice.report_conflicts
        self._tasks = slice.tasks
        self._registrations = registrations
        self._asking: dict[SiloAddress, set[asyncio.Task[None]]] = {}

    def begin(self, version: int, ranges: RangeSet) -> None:
        """Recover these ranges, gained with this view. Ready at once if no silo can have registrations there."""
        others = self._current.topology.live - {self._deps.me}
        if not others and next(self._registrations.registered(ranges), None) is None:
            self._ready(version, ranges)
            return
        self._tasks.start(self._run(version, ranges, sorted({*others, self._deps.me})))

    def on_silos_gone(self, gone: Iterable[SiloAddress]) -> None:
        """Stop waiting for the answers of these silos."""
        for silo in gone:
            for task in self._asking.get(silo, ()):
                task.cancel()

    async def answer(self, data: bytes) -> bytes:
        """The system target `directory.recover`: this silo's registered activations in the requested ranges."""
        request = decode(Recover, data)
        options = self._deps.options
        if not await self._current.reach(request.version, options.ready_wait):
            return encode(Recovered(self._current.topology.version, behind=True))
        ranges = to_ranges(request.ranges)
        page, rest = page_of(await self._scan(ranges), ranges, options.recover_page)
        entries = tuple(to_entry(address) for address in page)
        holds = self._hold_timers.remaining
        return encode(Recovered(self._current.topology.version, entries, to_pairs(rest), holds=holds))

    async def _run(self, version: int, ranges: RangeSet, silos: list[SiloAddress]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for silo in silos:
                # A task that `on_silos_gone` cancels does not cancel the group; the others continue.
                task = group.create_task(self._collect(version, silo, ranges))
                self._asking.setdefault(silo, set()).add(task)
                task.add_done_callback(self._asking[silo].discard)
        self._ready(version, ranges)
        self._current.changed.fire()
        logger.info("ranges of view %d recovered from %d silos in %.3f s", version, len(silos), loop.time() - began)

    def _ready(self, version: int, ranges: RangeSet) -> None:
        # A silo that has just died was not asked, and may still run grains that have no entry now.
        self._partition.holds.mark_in_doubt(ranges)
        self._partition.ready(version, ranges)

    async def _collect(self, version: int, silo: SiloAddress, ranges: RangeSet) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        repetition = Repetition(self._current, self._deps.options, self._deps.rng)
        rest = ranges & self._partition.recovering(version)
        while rest and silo in self._current.topology.live:
            repetition.begin()
            try:
                reported, rest = await self._ask(version, silo, rest)
            except Exception as error:
                # Any error is retried: the range must not become ready without this silo's answer.
                logger.info("silo %s did not report its activations, asking again: %s", silo, error)
                if loop.time() - began > WARN_AFTER:
                    self._warn(version, silo, loop.time() - began, error)
                await repetition.pause(math.inf)
            else:
                self._report_conflicts(self._partition.merge(version, reported))
            rest &= self._partition.recovering(version)

    def _warn(self, version: int, silo: SiloAddress, seconds: float, error: Exception) -> None:
        self._deps.events.publish(RangeRecoveringLong(version, seconds, str(silo), str(error)), error)

    async def _ask(self, version: int, silo: SiloAddress, ranges: RangeSet) -> tuple[list[GrainAddress], RangeSet]:
        if silo == self._deps.me:
            return [address for _, address in await self._scan(ranges)], RangeSet()
        request = encode(Recover(version, to_pairs(ranges)))
        reply = await self._deps.ask(silo, RECOVER, request, self._deps.options.ask_timeout)
        answer = decode(Recovered, reply)
        if answer.behind:
            raise SiloUnavailable(f"it is at view {answer.version} and cannot get view {version}")
        self._hold_timers.adopt(answer.holds, RangeSet())
        return [to_address(entry) for entry in answer.entries], to_ranges(answer.rest)

    async def _scan(self, ranges: RangeSet) -> list[tuple[int, GrainAddress]]:
        """(hash, address) of this silo's activations registered at the start of the scan, in these ranges.

        Yields to the loop after each `scan_chunk` activations.
        """
        addresses = self._registrations.registered(ranges)
        pairs: list[tuple[int, GrainAddress]] = []
        chunk = self._deps.options.scan_chunk
        while part := list(islice(addresses, chunk)):
            hashed = ((address.grain_id.ring_hash, address) for address in part)
            pairs += [pair for pair in hashed if pair[0] in ranges]
            if len(part) == chunk:
                await asyncio.sleep(0)
        return pairs
