"""The owner's side: keeps this silo's slice in step with the views, and answers requests about it.

`cluster.py` feeds it with views; `directory_client.py` on other silos sends the requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grange.directory.slice.deps import Slice
from grange.directory.slice.local_registrations import LocalRegistrations
from grange.directory.slice.messages import (
    LOOKUP,
    RECOVER,
    REGISTER,
    TAKE,
    TAKEN,
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
from grange.directory.slice.partition import Refusal
from grange.directory.slice.topology import Topology
from grange.directory.transfer.acquisition import RangeAcquisition
from grange.directory.transfer.handover import Handover
from grange.directory.transfer.recovery import Recovery
from grange.proto.ids import GrainAddress, GrainId
from grange.runtime.system_target import SystemTargets

Decision = GrainAddress | None | Refusal


class DirectoryService:
    """The owner's side of the directory on one silo. Other silos reach it through its system targets."""

    def __init__(self, slice: Slice, registrations: LocalRegistrations) -> None:
        self.handover = Handover(slice)
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._hold_timers = slice.hold_timers
        self._recovery = Recovery(slice, registrations)
        self._acquisition = RangeAcquisition(slice, self._recovery)

    def serve(self, targets: SystemTargets) -> None:
        """Register the system targets of the owner's side."""
        targets.serve(REGISTER, self._register)
        targets.serve(LOOKUP, self._lookup)
        targets.serve(UNREGISTER, self._unregister)
        targets.serve(RECOVER, self._recovery.answer)
        targets.serve(TAKE, self.handover.answer_take)
        targets.serve(TAKEN, self.handover.answer_taken)

    def on_view(self, before: Topology, after: Topology) -> None:
        """Apply a newer view: begin holds, fill gained ranges, keep the sealed entries of lost ones. Does not wait."""
        for silo in before.abrupt_deaths(after):
            self._hold_timers.begin(silo, after.hold_of(silo, self._deps.options.death_hold))
        for silo in self._hold_timers.held:
            if after.is_superseded(silo):
                self._hold_timers.lift(silo)
        owned = after.ranges(self._deps.me)
        change = self._partition.advance(after.version, owned, after.live, before.may_have_missed(after))
        self._recovery.on_silos_gone(change.gone)
        self._acquisition.on_silos_gone(change.gone)
        self.handover.on_silos_gone(change.gone)
        if change.sealed is not None:
            self.handover.keep(change.sealed, after)
        if change.gained:
            self._acquisition.begin(before, after, change.gained)

    async def _register(self, data: bytes) -> bytes:
        request = decode(Register, data)
        address = to_address(request.address)
        previous = None if request.previous is None else to_address(request.previous)
        return await self._decide(
            request.version, address.grain_id, lambda: self._partition.register(address, previous)
        )

    async def _lookup(self, data: bytes) -> bytes:
        request = decode(Lookup, data)
        grain_id = GrainId(request.type, request.key)
        return await self._decide(request.version, grain_id, lambda: self._partition.lookup(grain_id))

    async def _unregister(self, data: bytes) -> bytes:
        request = decode(Unregister, data)
        address = to_address(request.address)
        return await self._decide(request.version, address.grain_id, lambda: self._partition.unregister(address))

    async def _decide(self, version: int, grain_id: GrainId, decide: Callable[[], Decision]) -> bytes:
        """Decide under a view at least as new as the caller's, once the range is ready. After `ready_wait`, refuse."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deps.options.ready_wait
        if not await self._current.reach(version, until - loop.time()):
            return encode(Reply(self._partition.version, Refusal.BEHIND))
        while (decision := decide()) is Refusal.NOT_READY and loop.time() < until:
            await self._current.changed.wait(until - loop.time())
        if isinstance(decision, Refusal):
            # For a held grain the reply names the wait, and the caller repeats: a registration that waited here could
            # not be cancelled.
            held = decision is Refusal.HELD
            wait = self._hold_timers.seconds_of(self._partition.held_by(grain_id)) if held else 0.0
            return encode(Reply(self._partition.version, decision, None, wait))
        return encode(Reply(self._partition.version, None, None if decision is None else to_entry(decision)))
