"""Two activations of one grain: counted, said loudly, and ended.

The one that is not registered ends first. Then the registered one ends too, if it keeps state: the other may have
written meanwhile, and what the next activation loads is what is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from grange.aio.tasks import Tasks
from grange.directory.slice.deps import DirectoryDeps
from grange.directory.slice.messages import LOST, Lost, decode, encode, to_address, to_entry
from grange.directory.slice.partition import Conflict
from grange.errors import GrangeError
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.system_target import SystemTargets

logger = logging.getLogger(__name__)

LOOK = 0.05
"""Seconds between two looks of a silo whether an activation that must end has ended."""

LOOKS = 40
"""So many of them before it answers all the same: a turn takes long."""

LOGGED = 10
"""Duplicates named in the log, of those found at once; the count is of all."""


class Duplicates:
    """What this silo found of them since it started. Reported by recoveries and by the detector."""

    def __init__(self, deps: DirectoryDeps, tasks: Tasks) -> None:
        self.found = 0
        self._deps = deps
        self._tasks = tasks

    def serve(self, targets: SystemTargets) -> None:
        """Offer the service that ends activations of this silo."""
        targets.serve(LOST, self._answer_lost)

    def report(self, conflicts: Iterable[Conflict]) -> None:
        """Have the losers ended by their silos. The runbook page is docs/runbooks/duplicate_activation.md."""
        losers: dict[SiloAddress, list[GrainAddress]] = {}
        winners: dict[SiloAddress, list[GrainAddress]] = {}
        for number, conflict in enumerate(conflicts):
            self.found += 1
            losers.setdefault(conflict.loser.silo, []).append(conflict.loser)
            winners.setdefault(conflict.winner.silo, []).append(conflict.winner)
            if number < LOGGED:
                logger.error(
                    "two activations of %s: the registered one, %032x on silo %s, stays; %032x on silo %s must end",
                    conflict.winner.grain_id,
                    conflict.winner.activation,
                    conflict.winner.silo,
                    conflict.loser.activation,
                    conflict.loser.silo,
                    extra={"event": "duplicate_activation", "grain_type": conflict.winner.grain_id.type},
                )
        if losers:
            self._tasks.start(self._end(losers, winners))

    async def _answer_lost(self, data: bytes) -> bytes:
        """The system target `directory.lost`: these of our activations must end."""
        question = decode(Lost, data)
        lost = [to_address(entry) for entry in question.entries]
        for address in lost:
            self._deps.lost(address)
        for entry in question.doubted:
            self._deps.doubted(to_address(entry))
        for _ in range(LOOKS):
            if not any(self._deps.is_here(address) for address in lost):
                break
            await asyncio.sleep(LOOK)
        return b""

    async def _end(
        self, losers: dict[SiloAddress, list[GrainAddress]], winners: dict[SiloAddress, list[GrainAddress]]
    ) -> None:
        """The losers first: what they write until then is what the winners' successors load."""
        for silo, addresses in losers.items():
            await self._tell(silo, Lost(tuple(to_entry(address) for address in addresses)))
        for silo, addresses in winners.items():
            await self._tell(silo, Lost((), tuple(to_entry(address) for address in addresses)))

    async def _tell(self, silo: SiloAddress, message: Lost) -> None:
        question = encode(message)
        if silo == self._deps.me:
            await self._answer_lost(question)
            return
        try:
            await self._deps.ask(silo, LOST, question, self._deps.options.ask_timeout)
        except GrangeError as error:
            logger.warning(
                "silo %s was not told that activations must end; its own check will find them: %s", silo, error
            )
