"""Compares what our slice holds with the silos it names, and removes what is not there.

Such an entry stays behind when a claim ran out of time after the owner took it, when a release was lost, or when a
silo is gone. One look is enough: an activation exists before it is registered and its number never comes again, so
if it is not there now, it is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from grange.directory.slice.messages import PRESENT, Absent, Present, decode, encode, to_address, to_entry
from grange.directory.slice.ranges import RangeSet
from grange.directory.slice.slice import Slice
from grange.errors import GrangeError
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.system_target import SystemTargets

logger = logging.getLogger(__name__)


class Sweep:
    """One silo's part, run by `consistency_checker.py`. `removed` counts entries of live silos without activation."""

    def __init__(self, slice: Slice) -> None:
        self.removed = 0
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._rest = RangeSet()

    def serve(self, targets: SystemTargets) -> None:
        """Answer the sweeps of other silos."""
        targets.serve(PRESENT, self._answer_present)

    async def once(self) -> None:
        """Go on where the last one ended, as far as the limit of one period allows."""
        options = self._deps.options
        for _ in range(0, options.check_limit, options.check_page):
            page, self._rest = self._partition.page(self._rest or self._partition.owned, options.check_page)
            await self._look_at(page)
            await asyncio.sleep(0)
            if not self._rest:
                return

    async def absent(self, silo: SiloAddress, entries: Sequence[GrainAddress]) -> list[GrainAddress] | None:
        """Those of a silo's activations that are not there; None: it does not say."""
        if silo == self._deps.me:
            return [entry for entry in entries if not self._deps.is_here(entry)]
        if silo not in self._current.topology.live:
            return None
        question = encode(Present(tuple(to_entry(entry) for entry in entries)))
        try:
            reply = await self._deps.ask(silo, PRESENT, question, self._deps.options.ask_timeout)
            return [entries[index] for index in decode(Absent, reply).entries]
        except GrangeError as error:
            logger.info("silo %s did not say what it runs; next time: %s", silo, error)
            return None

    async def _look_at(self, page: list[GrainAddress]) -> None:
        by_silo: dict[SiloAddress, list[GrainAddress]] = {}
        for entry in page:
            if self._partition.is_over(entry):
                self._partition.unregister(entry)
            else:
                by_silo.setdefault(entry.silo, []).append(entry)
        for silo, entries in by_silo.items():
            for entry in await self.absent(silo, entries) or ():
                if self._partition.unregister(entry) is None:
                    self.removed += 1
                    logger.info("%s was in the directory, but is not there; the entry is removed", entry)

    async def _answer_present(self, data: bytes) -> bytes:
        entries = decode(Present, data).entries
        absent = (index for index, entry in enumerate(entries) if not self._deps.is_here(to_address(entry)))
        return encode(Absent(tuple(absent)))
