"""Two activations of one grain: counted, said loudly, and ended down to one."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from grange.directory.messages import LOST, Lost, decode, encode, to_address, to_entry
from grange.directory.partition import Conflict
from grange.directory.wiring import Wiring
from grange.errors import GrangeError
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

LOGGED = 10
"""Duplicates named in the log, of those found at once; the count is of all."""


class Duplicates:
    """What this silo found of them since it started. Reported by recoveries and by the detector."""

    def __init__(self, wiring: Wiring, tasks: Tasks) -> None:
        self.found = 0
        self._wiring = wiring
        self._tasks = tasks

    def report(self, conflicts: Iterable[Conflict]) -> None:
        """Have the losers ended by their silos. The runbook page is docs/runbooks/duplicate_activation.md."""
        losers: dict[SiloAddress, list[GrainAddress]] = {}
        for number, conflict in enumerate(conflicts):
            self.found += 1
            losers.setdefault(conflict.loser.silo, []).append(conflict.loser)
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
        for silo, addresses in losers.items():
            self._tasks.start(self._tell(silo, addresses))

    async def answer_lost(self, data: bytes) -> bytes:
        """The system target `directory.lost`: these of our activations must end."""
        for entry in decode(Lost, data).entries:
            self._wiring.lost(to_address(entry))
        return b""

    async def _tell(self, silo: SiloAddress, losers: list[GrainAddress]) -> None:
        question = encode(Lost(tuple(to_entry(loser) for loser in losers)))
        if silo == self._wiring.me:
            await self.answer_lost(question)
            return
        try:
            await self._wiring.ask(silo, LOST, question, self._wiring.options.ask_timeout)
        except GrangeError as error:
            logger.warning(
                "silo %s was not told that activations must end; its own check will find them: %s", silo, error
            )
