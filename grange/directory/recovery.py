"""Filling a range that this silo has just gained, by asking every live silo what it runs there.

The view-synchronous recovery of Orleans' DistributedGrainDirectory: a question names the view that gave us
the range, and is answered only under that view or a newer one. So whatever a silo registered with an earlier
owner is either part of its answer, or will be registered again, with us (`hosted.py`). When all have
answered, or have died in a newer view, the range is ready.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from grange.directory.current import Current
from grange.directory.hosted import Hosted, page_of
from grange.directory.messages import (
    LOST,
    RECOVER,
    Lost,
    Recover,
    Recovered,
    decode,
    encode,
    to_address,
    to_entry,
    to_pairs,
    to_ranges,
)
from grange.directory.partition import Conflict, Partition
from grange.directory.ranges import RangeSet
from grange.directory.wiring import Wiring
from grange.errors import SiloUnavailable
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.tasks import Tasks

logger = logging.getLogger(__name__)


class Recovery:
    """Asks and answers recovery questions. Used by `service.py`."""

    def __init__(self, wiring: Wiring, current: Current, hosted: Hosted, partition: Partition, tasks: Tasks) -> None:
        self._wiring = wiring
        self._current = current
        self._hosted = hosted
        self._partition = partition
        self._tasks = tasks
        self._asking: dict[SiloAddress, set[asyncio.Task[None]]] = {}

    def begin(self, version: int) -> None:
        """Recover what the partition has just gained with this view. Ready at once if there is nobody to
        ask.
        """
        ranges = self._partition.recovering(version)
        others = self._current.topology.live - {self._wiring.me}
        if not others and not self._hosted.registered(ranges):
            self._partition.recovered(version)
            return
        self._tasks.start(self._run(version, sorted({*others, self._wiring.me})))

    def silos_gone(self, gone: Iterable[SiloAddress]) -> None:
        """These died: nobody need wait for what they would have answered."""
        for silo in gone:
            for task in self._asking.get(silo, ()):
                task.cancel()

    async def answer(self, data: bytes) -> bytes:
        """The system target `directory.recover`: what this silo runs in the ranges asked for."""
        question = decode(Recover, data)
        options = self._wiring.options
        if not await self._current.reach(question.version, options.ready_wait):
            return encode(Recovered(self._current.topology.version, behind=True))
        ranges = to_ranges(question.ranges)
        page, rest = page_of(await self._scan(ranges), ranges, options.recover_page)
        entries = tuple(to_entry(address) for address in page)
        return encode(Recovered(self._current.topology.version, entries, to_pairs(rest)))

    async def answer_lost(self, data: bytes) -> bytes:
        """The system target `directory.lost`: these of our activations must end."""
        for entry in decode(Lost, data).entries:
            self._wiring.lost(to_address(entry))
        return b""

    async def _run(self, version: int, silos: list[SiloAddress]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for silo in silos:
                # A task cancelled by `silos_gone` ends quietly; the group goes on with the others.
                task = group.create_task(self._collect(version, silo))
                self._asking.setdefault(silo, set()).add(task)
                task.add_done_callback(self._asking[silo].discard)
        self._partition.recovered(version)
        self._current.changed.fire()
        logger.info("ranges of view %d recovered from %d silos in %.3f s", version, len(silos), loop.time() - began)

    async def _collect(self, version: int, silo: SiloAddress) -> None:
        pause = self._wiring.options.retry_first
        rest = self._partition.recovering(version)
        while rest and silo in self._current.topology.live:
            try:
                found, rest = await self._ask(version, silo, rest)
            except Exception as error:
                # Whatever it is, the range must not open without this silo's answer, and not stay shut
                # either.
                logger.warning("silo %s did not tell what it runs, asking again: %s", silo, error)
                await self._current.changed.wait(pause)
                pause = min(2 * pause, self._wiring.options.retry_limit)
            else:
                self._report(self._partition.merge(version, found))
            rest &= self._partition.recovering(version)

    async def _ask(self, version: int, silo: SiloAddress, ranges: RangeSet) -> tuple[list[GrainAddress], RangeSet]:
        if silo == self._wiring.me:
            return [address for _, address in await self._scan(ranges)], RangeSet()
        question = encode(Recover(version, to_pairs(ranges)))
        reply = await self._wiring.ask(silo, RECOVER, question, self._wiring.options.ask_timeout)
        answer = decode(Recovered, reply)
        if answer.behind:
            raise SiloUnavailable(f"it is at view {answer.version} and cannot get view {version}")
        return [to_address(entry) for entry in answer.entries], to_ranges(answer.rest)

    async def _scan(self, ranges: RangeSet) -> list[tuple[int, GrainAddress]]:
        """(hash, address) of what is registered here at the start of the scan, in pieces that do not block
        the loop.
        """
        addresses = self._hosted.registered(ranges)
        found: list[tuple[int, GrainAddress]] = []
        chunk = self._wiring.options.scan_chunk
        for start in range(0, len(addresses), chunk):
            if start:
                await asyncio.sleep(0)
            pairs = ((address.grain_id.ring_hash, address) for address in addresses[start : start + chunk])
            found += [pair for pair in pairs if pair[0] in ranges]
        return found

    def _report(self, conflicts: list[Conflict]) -> None:
        losers: dict[SiloAddress, list[GrainAddress]] = {}
        for conflict in conflicts:
            logger.error("two activations of one grain: %s stays, %s must end", conflict.winner, conflict.loser)
            losers.setdefault(conflict.loser.silo, []).append(conflict.loser)
        for silo, addresses in losers.items():
            self._tasks.start(self._tell_lost(silo, addresses))

    async def _tell_lost(self, silo: SiloAddress, losers: list[GrainAddress]) -> None:
        question = encode(Lost(tuple(to_entry(loser) for loser in losers)))
        if silo == self._wiring.me:
            await self.answer_lost(question)
        else:
            await self._wiring.ask(silo, LOST, question, self._wiring.options.ask_timeout)
