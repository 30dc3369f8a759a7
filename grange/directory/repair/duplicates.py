"""Duplicates: two activations of one grain. Counts them, logs each as an error, and ends both in the right order.

The unregistered one ends first. Then the registered one ends too if it keeps state: the other one may have written
meanwhile, and the next activation loads the stored state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from grange.aio.tasks import Tasks
from grange.directory.slice.deps import DirectoryDeps
from grange.directory.slice.messages import LOST, EndDuplicates, decode, encode, to_address, to_entry
from grange.directory.slice.partition import Conflict
from grange.errors import GrangeError
from grange.observability.catalogue import DuplicateActivation
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.system_target import SystemTargets

logger = logging.getLogger("grange.directory")

POLL_INTERVAL = 0.05
"""Seconds between two checks whether the activations that must end have ended."""

MAX_POLLS = 40
"""Most such checks before the silo answers: 2 s in all, because a running turn may take long."""

MAX_LOGGED = 10
"""Most duplicates of one report that are logged by name. All of them are counted."""


class Duplicates:
    """Duplicates that this silo found since it started. Recoveries and the consistency checker report them."""

    def __init__(self, deps: DirectoryDeps, tasks: Tasks) -> None:
        self.count = 0
        self._deps = deps
        self._tasks = tasks

    def serve(self, targets: SystemTargets) -> None:
        """Register the system target that ends activations of this silo."""
        targets.serve(LOST, self._answer_lost)

    def report(self, conflicts: Iterable[Conflict]) -> None:
        """Log the conflicts and make the silos end the activations. Runbook: docs/runbooks/duplicate_activation.md."""
        losers: dict[SiloAddress, list[GrainAddress]] = {}
        winners: dict[SiloAddress, list[GrainAddress]] = {}
        for number, conflict in enumerate(conflicts):
            self.count += 1
            losers.setdefault(conflict.loser.silo, []).append(conflict.loser)
            winners.setdefault(conflict.winner.silo, []).append(conflict.winner)
            if number < MAX_LOGGED:
                self._deps.events.publish(_event_of(conflict))
        if losers:
            self._tasks.start(self._end(losers, winners))

    async def _answer_lost(self, data: bytes) -> bytes:
        """The system target `directory.lost`: end these activations of this silo."""
        request = decode(EndDuplicates, data)
        losers = [to_address(entry) for entry in request.losers]
        for address in losers:
            self._deps.end_unregistered(address)
        for entry in request.winners:
            self._deps.end_if_stateful(to_address(entry))
        for _ in range(MAX_POLLS):
            if not any(self._deps.has_activation(address) for address in losers):
                break
            await asyncio.sleep(POLL_INTERVAL)
        return b""

    async def _end(
        self, losers: dict[SiloAddress, list[GrainAddress]], winners: dict[SiloAddress, list[GrainAddress]]
    ) -> None:
        """End the losers first: the activations after the winners then load everything that the losers wrote."""
        for silo, addresses in losers.items():
            await self._request_end(silo, EndDuplicates(tuple(to_entry(address) for address in addresses)))
        for silo, addresses in winners.items():
            await self._request_end(silo, EndDuplicates((), tuple(to_entry(address) for address in addresses)))

    async def _request_end(self, silo: SiloAddress, message: EndDuplicates) -> None:
        request = encode(message)
        if silo == self._deps.me:
            await self._answer_lost(request)
            return
        try:
            await self._deps.ask(silo, LOST, request, self._deps.options.ask_timeout)
        except GrangeError as error:
            logger.warning(
                "silo %s did not confirm the end of duplicate activations; its own check will find them: %s",
                silo,
                error,
            )


def _event_of(conflict: Conflict) -> DuplicateActivation:
    winner, loser = (f"{each.activation:032x} on silo {each.silo}" for each in (conflict.winner, conflict.loser))
    grain_id = conflict.winner.grain_id
    return DuplicateActivation(grain_id.type, str(grain_id), winner, loser)
