"""Compares the entries of our slice with the silos that they name, and removes entries without an activation.

Such an entry remains when a claim times out after the owner has registered it, when a release is lost, or when a silo
goes. One answer is enough to remove it: an activation exists before it is registered, and activation ids are never
reused, so an activation that does not exist now has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from grange.directory.slice.deps import Slice
from grange.directory.slice.messages import PRESENT, Absent, Present, decode, encode, to_address, to_entry
from grange.directory.slice.ranges import RangeSet
from grange.errors import GrangeError
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.system_target import SystemTargets

logger = logging.getLogger("grange.directory")


class Sweep:
    """This silo's sweep, run by `consistency_checker.py`. `removed` counts removed entries of live silos."""

    def __init__(self, slice: Slice) -> None:
        self.removed = 0
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._rest = RangeSet()

    def serve(self, targets: SystemTargets) -> None:
        """Register the system target that answers the sweeps of other silos."""
        targets.serve(PRESENT, self._answer_present)

    async def run_once(self) -> None:
        """Sweep up to `check_limit` entries, from where the previous sweep stopped."""
        options = self._deps.options
        for _ in range(0, options.check_limit, options.check_page):
            page, self._rest = self._partition.page(self._rest or self._partition.owned, options.check_page)
            await self._sweep(page)
            await asyncio.sleep(0)
            if not self._rest:
                return

    async def absent(self, silo: SiloAddress, entries: Sequence[GrainAddress]) -> list[GrainAddress] | None:
        """The given activations of `silo` that do not exist; None if the silo does not answer."""
        if silo == self._deps.me:
            return [entry for entry in entries if not self._deps.has_activation(entry)]
        if silo not in self._current.topology.live:
            return None
        request = encode(Present(tuple(to_entry(entry) for entry in entries)))
        try:
            reply = await self._deps.ask(silo, PRESENT, request, self._deps.options.ask_timeout)
            return [entries[index] for index in decode(Absent, reply).entries]
        except GrangeError as error:
            logger.info("silo %s did not report its activations; the next sweep asks again: %s", silo, error)
            return None

    async def _sweep(self, page: list[GrainAddress]) -> None:
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
                    logger.info("the entry of %s is removed: its silo has no such activation", entry)

    async def _answer_present(self, data: bytes) -> bytes:
        """The system target `directory.present`: lists the given activations of this silo that do not exist."""
        entries = decode(Present, data).entries
        absent = (index for index, entry in enumerate(entries) if not self._deps.has_activation(to_address(entry)))
        return encode(Absent(tuple(absent)))
