"""The owner's side: this silo's slice of the directory, and the questions that others ask about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grange.directory.current import Current
from grange.directory.hosted import Hosted
from grange.directory.messages import (
    LOOKUP,
    LOST,
    RECOVER,
    REGISTER,
    UNREGISTER,
    Lookup,
    Register,
    Reply,
    Unregister,
    decode,
    encode,
    to_address,
    to_entry,
)
from grange.directory.partition import Partition, Refusal
from grange.directory.recovery import Recovery
from grange.directory.topology import Topology
from grange.directory.wiring import Wiring
from grange.proto.ids import GrainAddress, GrainId
from grange.runtime.system_target import SystemTargets
from grange.runtime.tasks import Tasks

Decision = GrainAddress | None | Refusal


class DirectoryService:
    """Keeps the partition in step with the views, and answers for it."""

    def __init__(self, wiring: Wiring, current: Current, hosted: Hosted, tasks: Tasks) -> None:
        self.partition = Partition()
        self._wiring = wiring
        self._current = current
        self._recovery = Recovery(wiring, current, hosted, self.partition, tasks)

    def serve(self, targets: SystemTargets) -> None:
        """Offer the services of this room to other silos."""
        targets.serve(REGISTER, self._register)
        targets.serve(LOOKUP, self._lookup)
        targets.serve(UNREGISTER, self._unregister)
        targets.serve(RECOVER, self._recovery.answer)
        targets.serve(LOST, self._recovery.answer_lost)

    def advance(self, before: Topology, after: Topology) -> None:
        """A newer view: take over what it gives us, let go what it takes. Never waits."""
        owned = after.ranges(self._wiring.me)
        change = self.partition.advance(after.version, owned, after.live, before.may_have_missed(after))
        self._recovery.silos_gone(change.gone)
        if change.gained:
            self._recovery.begin(after.version)

    async def _register(self, data: bytes) -> bytes:
        question = decode(Register, data)
        address = to_address(question.address)
        previous = None if question.previous is None else to_address(question.previous)
        return await self._reply(question.version, lambda: self.partition.register(address, previous))

    async def _lookup(self, data: bytes) -> bytes:
        question = decode(Lookup, data)
        grain_id = GrainId(question.type, question.key)
        return await self._reply(question.version, lambda: self.partition.lookup(grain_id))

    async def _unregister(self, data: bytes) -> bytes:
        question = decode(Unregister, data)
        address = to_address(question.address)
        return await self._reply(question.version, lambda: self.partition.unregister(address))

    async def _reply(self, version: int, decide: Callable[[], Decision]) -> bytes:
        """Decide under a view at least as new as the asker's, once the range is ready; else say why not."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wiring.options.ready_wait
        if not await self._current.reach(version, until - loop.time()):
            return encode(Reply(self.partition.version, Refusal.BEHIND))
        while (decision := decide()) is Refusal.NOT_READY and loop.time() < until:
            await self._current.changed.wait(until - loop.time())
        if isinstance(decision, Refusal):
            return encode(Reply(self.partition.version, decision))
        return encode(Reply(self.partition.version, None, None if decision is None else to_entry(decision)))
