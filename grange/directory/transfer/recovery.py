"""Filling a range that nobody can hand over, by asking every live silo what it runs there.

The view-synchronous recovery of Orleans' DistributedGrainDirectory: a question names the view that gave us
the range, and is answered only under that view or a newer one. So whatever a silo registered with an earlier
owner is either part of its answer, or will be registered again, with us (`slice/local_registrations.py`). When all have
answered, or have died in a newer view, the range is ready.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import islice

from grange.aio.throttled_log import ThrottledLog
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
from grange.directory.slice.slice import Slice
from grange.errors import SiloUnavailable
from grange.proto.ids import GrainAddress, SiloAddress

logger = logging.getLogger(__name__)

LONG = 8.0
"""Seconds after which a silo that does not answer should have been declared dead."""


class Recovery:
    """Asks and answers recovery questions. Used by `service.py`."""

    def __init__(self, slice: Slice, registrations: LocalRegistrations) -> None:
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._hold_timers = slice.hold_timers
        self._report = slice.report
        self._tasks = slice.tasks
        self._registrations = registrations
        self._warnings = ThrottledLog(logger)
        self._asking: dict[SiloAddress, set[asyncio.Task[None]]] = {}

    def begin(self, version: int, ranges: RangeSet) -> None:
        """Recover these ranges, gained with this view. Ready at once if there is nobody to ask."""
        others = self._current.topology.live - {self._deps.me}
        if not others and next(self._registrations.registered(ranges), None) is None:
            self._ready(version, ranges)
            return
        self._tasks.start(self._run(version, ranges, sorted({*others, self._deps.me})))

    def silos_gone(self, gone: Iterable[SiloAddress]) -> None:
        """These died: nobody need wait for what they would have answered."""
        for silo in gone:
            for task in self._asking.get(silo, ()):
                task.cancel()

    async def answer(self, data: bytes) -> bytes:
        """The system target `directory.recover`: what this silo runs in the ranges asked for."""
        question = decode(Recover, data)
        options = self._deps.options
        if not await self._current.reach(question.version, options.ready_wait):
            return encode(Recovered(self._current.topology.version, behind=True))
        ranges = to_ranges(question.ranges)
        page, rest = page_of(await self._scan(ranges), ranges, options.recover_page)
        entries = tuple(to_entry(address) for address in page)
        holds = self._hold_timers.remaining
        return encode(Recovered(self._current.topology.version, entries, to_pairs(rest), holds=holds))

    async def _run(self, version: int, ranges: RangeSet, silos: list[SiloAddress]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for silo in silos:
                # A task cancelled by `silos_gone` ends quietly; the group goes on with the others.
                task = group.create_task(self._collect(version, silo, ranges))
                self._asking.setdefault(silo, set()).add(task)
                task.add_done_callback(self._asking[silo].discard)
        self._ready(version, ranges)
        self._current.changed.fire()
        logger.info("ranges of view %d recovered from %d silos in %.3f s", version, len(silos), loop.time() - began)

    def _ready(self, version: int, ranges: RangeSet) -> None:
        # Who has just died was not asked, and may run what is absent now.
        self._partition.holds.doubt(ranges)
        self._partition.ready(version, ranges)

    async def _collect(self, version: int, silo: SiloAddress, ranges: RangeSet) -> None:
        loop = asyncio.get_running_loop()
        began, pause = loop.time(), self._deps.options.retry_first
        rest = ranges & self._partition.recovering(version)
        while rest and silo in self._current.topology.live:
            try:
                found, rest = await self._ask(version, silo, rest)
            except Exception as error:
                # Whatever it is, the range must not open without this silo's answer, and not stay shut
                # either.
                logger.info("silo %s did not tell what it runs, asking again: %s", silo, error)
                if loop.time() - began > LONG:
                    self._complain(version, silo, loop.time() - began, error)
                await self._current.changed.wait(pause)
                pause = min(2 * pause, self._deps.options.retry_limit)
            else:
                self._report(self._partition.merge(version, found))
            rest &= self._partition.recovering(version)

    def _complain(self, version: int, silo: SiloAddress, seconds: float, error: Exception) -> None:
        message = (
            f"ranges that came to silo {self._deps.me} with view {version} are closed for {seconds:.0f} s: "
            f"silo {silo} is not declared dead, but does not tell what it runs"
        )
        self._warnings.warning(message, error, "range_recovering_long")

    async def _ask(self, version: int, silo: SiloAddress, ranges: RangeSet) -> tuple[list[GrainAddress], RangeSet]:
        if silo == self._deps.me:
            return [address for _, address in await self._scan(ranges)], RangeSet()
        question = encode(Recover(version, to_pairs(ranges)))
        reply = await self._deps.ask(silo, RECOVER, question, self._deps.options.ask_timeout)
        answer = decode(Recovered, reply)
        if answer.behind:
            raise SiloUnavailable(f"it is at view {answer.version} and cannot get view {version}")
        self._hold_timers.carried(answer.holds, RangeSet())
        return [to_address(entry) for entry in answer.entries], to_ranges(answer.rest)

    async def _scan(self, ranges: RangeSet) -> list[tuple[int, GrainAddress]]:
        """(hash, address) of what is registered here at the start of the scan, in pieces that do not block
        the loop.
        """
        addresses = self._registrations.registered(ranges)
        found: list[tuple[int, GrainAddress]] = []
        chunk = self._deps.options.scan_chunk
        while part := list(islice(addresses, chunk)):
            pairs = ((address.grain_id.ring_hash, address) for address in part)
            found += [pair for pair in pairs if pair[0] in ranges]
            if len(part) == chunk:
                await asyncio.sleep(0)
        return found
