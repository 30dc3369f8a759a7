"""The caller's side: finds the owner of a grain's range, sends it the operation, and repeats while it is refused.

`locator.py` and the consistency checker call it. `service.py` on the owner answers.
"""

from __future__ import annotations

import asyncio

from grange.directory.slice.deps import Slice
from grange.directory.slice.local_registrations import LocalRegistrations
from grange.directory.slice.messages import Reply, decode, to_address
from grange.directory.slice.operations import LookupOperation, Operation, RegisterOperation, UnregisterOperation
from grange.directory.slice.partition import Refusal
from grange.directory.slice.repetition import Repetition
from grange.errors import CallError, SiloUnavailable
from grange.membership.model.member import SiloStatus
from grange.proto.ids import GrainAddress, GrainId, SiloAddress


class DirectoryClient:
    """The `GrainDirectory` whose slices are on the active silos. Operations on our own ready ranges never suspend.

    Every operation may be repeated, because registering twice has the effect of registering once. A lost connection or
    a late answer leads to a repetition, within `claim_timeout` or `release_timeout`.
    """

    def __init__(self, slice: Slice, registrations: LocalRegistrations) -> None:
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._hold_timers = slice.hold_timers
        self._tasks = slice.tasks
        self._registrations = registrations

    def register_now(self, address: GrainAddress) -> GrainAddress | None:
        """See `GrainDirectory`. Decides for our own ready ranges."""
        decision = self._partition.register(address)
        return None if isinstance(decision, Refusal) else decision

    async def register(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """See `GrainDirectory`.

        A caller that wins must be listed by `DirectoryDeps.registered` before it suspends again. So do not put a task,
        or a time-out with a task of its own, between this call and its caller.
        """
        decision = self._partition.register(address, previous)
        if not isinstance(decision, Refusal):
            return decision
        try:
            winner = await self._repeat(RegisterOperation(address, previous), self._deps.options.claim_timeout)
        except BaseException:
            # The owner may have registered the activation, which this silo will not run.
            self._tasks.start(self._unregister_unused(address))
            raise
        assert winner is not None, "the answer to a register is the grain's entry"
        return winner

    async def lookup(self, grain_id: GrainId) -> GrainAddress | None:
        """See `GrainDirectory`."""
        self._deps.figures.lookups += 1
        decision = self._partition.lookup(grain_id)
        if not isinstance(decision, Refusal):
            return decision
        return await self._repeat(LookupOperation(grain_id), self._deps.options.claim_timeout)

    async def unregister(self, address: GrainAddress) -> None:
        """See `GrainDirectory`."""
        if self._partition.unregister(address) is None or self._is_over():
            return  # after the last silo has left, no silo holds entries
        await self._repeat(UnregisterOperation(address), self._deps.options.release_timeout)

    async def _unregister_unused(self, address: GrainAddress) -> None:
        try:
            await self.unregister(address)
        except SiloUnavailable:
            return  # the next claim of this grain finds that the activation does not exist, and replaces the entry

    async def _repeat(self, operation: Operation, seconds: float) -> GrainAddress | None:
        """Send the operation until it is decided. Raises SiloUnavailable after `seconds`."""
        loop = asyncio.get_running_loop()
        repetition = Repetition(self._current, self._deps.options, self._deps.rng)
        until = loop.time() + seconds
        while True:
            repetition.begin()
            try:
                answer, held = await self._send_once(operation)
            except CallError as error:
                answer, held, reason = Refusal.NOT_READY, None, str(error)
            else:
                reason = answer.value if isinstance(answer, Refusal) else ""
            if not isinstance(answer, Refusal):
                return answer
            left = until - loop.time()
            if left <= 0 or self._is_over():
                raise self._unavailable(operation, reason)
            await repetition.pause(left, held)

    async def _send_once(self, operation: Operation) -> tuple[GrainAddress | Refusal | None, float | None]:
        """The decision, and the seconds to wait before a repetition if the grain is held."""
        decision = operation.decide(self._partition)
        owner = self._owner(operation)
        if decision is not Refusal.NOT_OWNER or owner is None:
            held = decision is Refusal.HELD
            return decision, self._hold_timers.seconds_of(self._partition.held_by(operation.grain_id)) if held else None
        pending = self._registrations.begin(operation.grain_id.ring_hash)
        try:
            reply = await self._request(owner, operation)
        finally:
            self._registrations.end(pending)
        if reply.refusal is not None:
            await self._current.reach(reply.version, self._deps.options.ask_timeout)
            return reply.refusal, reply.wait if reply.refusal is Refusal.HELD else None
        answer = None if reply.entry is None else to_address(reply.entry)
        # Nothing suspends between the reply and the moment when the caller acts on the win. So a new owner asks for our
        # registrations either before the reply, and then `missed` is set, or after the caller has listed the win as
        # registered. In the first case the win is void: register again, with the new owner.
        if pending.missed and operation.is_won(answer):
            return Refusal.NOT_OWNER, None
        return answer, None

    async def _request(self, owner: SiloAddress, operation: Operation) -> Reply:
        data = operation.encoded(self._current.topology.version)
        timeout = self._deps.options.ask_timeout
        return decode(Reply, await self._deps.ask(owner, operation.service, data, timeout))

    def _owner(self, operation: Operation) -> SiloAddress | None:
        return self._current.topology.owner(operation.grain_id.ring_hash)

    def _is_over(self) -> bool:
        """Whether no later view can help: this silo is dead, or it is leaving and no silo is active."""
        topology = self._current.topology
        leaving = topology.status(self._deps.me) is SiloStatus.LEAVING
        return topology.is_dead(self._deps.me) or (leaving and not topology.ring.addresses)

    def _unavailable(self, operation: Operation, reason: str) -> SiloUnavailable:
        owner = self._owner(operation)
        if owner is None:
            return SiloUnavailable(f"no silo is active, so {operation.grain_id} has no place; start a silo")
        if reason == Refusal.NOT_READY:
            reason = "its range is being recovered; try again"
        if reason == Refusal.HELD:
            reason = "a silo that has just died may still run it; try again"
        return SiloUnavailable(f"the directory could not answer for {operation.grain_id} (owner {owner}): {reason}")
