"""The asker's side: finds the owner of a grain's slice, and repeats what could not be decided."""

from __future__ import annotations

import asyncio

from grange.aio.tasks import Tasks
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.deps import DirectoryDeps
from grange.directory.slice.local_registrations import LocalRegistrations
from grange.directory.slice.messages import Reply, decode, to_address
from grange.directory.slice.partition import Partition, Refusal
from grange.directory.slice.questions import LookupQuestion, Question, RegisterQuestion, UnregisterQuestion
from grange.errors import CallError, SiloUnavailable
from grange.membership.model.member import SiloStatus
from grange.proto.ids import GrainAddress, GrainId, SiloAddress


class PartitionedDirectory:
    """The `GrainDirectory` whose slices lie on the active silos. Operations on our own ready slice never
    suspend.

    All questions may be repeated: registering twice is registering once. So a lost connection or a late
    answer costs a repetition, within `claim_timeout` or `release_timeout`.
    """

    def __init__(
        self,
        deps: DirectoryDeps,
        current: CurrentView,
        registrations: LocalRegistrations,
        partition: Partition,
        tasks: Tasks,
    ) -> None:
        self._deps = deps
        self._current = current
        self._registrations = registrations
        self._partition = partition
        self._tasks = tasks

    async def register(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """See `GrainDirectory`. Whoever awaits this may believe a win until the next suspension, then must be
        found by `DirectoryDeps.registered`; so do not put a task or a time-out's task in between.
        """
        decision = self._partition.register(address, previous)
        if not isinstance(decision, Refusal):
            return decision
        try:
            winner = await self._ask(RegisterQuestion(address, previous), self._deps.options.claim_timeout)
        except BaseException:
            # It may have been registered all the same; nobody would ever run it.
            self._tasks.start(self._abandon(address))
            raise
        assert winner is not None, "a register is answered with the entry that stands"
        return winner

    async def lookup(self, grain_id: GrainId) -> GrainAddress | None:
        """See `GrainDirectory`."""
        decision = self._partition.lookup(grain_id)
        if not isinstance(decision, Refusal):
            return decision
        return await self._ask(LookupQuestion(grain_id), self._deps.options.claim_timeout)

    async def unregister(self, address: GrainAddress) -> None:
        """See `GrainDirectory`."""
        if self._partition.unregister(address) is None or self._is_over():
            return  # nobody is left who could remember a last silo that leaves
        await self._ask(UnregisterQuestion(address), self._deps.options.release_timeout)

    async def _abandon(self, address: GrainAddress) -> None:
        try:
            await self.unregister(address)
        except SiloUnavailable:
            return  # the next claim of this grain finds out that nobody runs there

    async def _ask(self, question: Question, seconds: float) -> GrainAddress | None:
        loop = asyncio.get_running_loop()
        options = self._deps.options
        until, pause = loop.time() + seconds, options.retry_first
        while True:
            try:
                answer, wait = await self._ask_once(question)
            except CallError as error:
                answer, wait, reason = Refusal.NOT_READY, 0.0, str(error)
            else:
                reason = answer.value if isinstance(answer, Refusal) else ""
            if not isinstance(answer, Refusal):
                return answer
            left = until - loop.time()
            if left <= 0 or self._is_over():
                raise self._unavailable(question, reason)
            await self._current.changed.wait(min(max(pause, wait), left))
            pause = min(2 * pause, options.retry_limit)

    async def _ask_once(self, question: Question) -> tuple[GrainAddress | Refusal | None, float]:
        """The decision, and the seconds to wait before asking again if the grain is held."""
        decision = question.decide(self._partition)
        owner = self._owner(question)
        if decision is not Refusal.NOT_OWNER or owner is None:
            return decision, self._deps.options.death_hold if decision is Refusal.HELD else 0.0
        attempt = self._registrations.begin(question.grain_id.ring_hash)
        try:
            reply = await self._ask_owner(owner, question)
        finally:
            self._registrations.end(attempt)
        if reply.refusal is not None:
            await self._current.reach(reply.version, self._deps.options.ask_timeout)
            return reply.refusal, reply.wait
        answer = None if reply.entry is None else to_address(reply.entry)
        # From the reply to here nothing was awaited, and nothing is until the asker believes the answer: so
        # either a new owner asked what we run before, and we were not told of this win, or it will hear of
        # it.
        if attempt.missed and question.is_won(answer):
            return Refusal.NOT_OWNER, 0.0
        return answer, 0.0

    async def _ask_owner(self, owner: SiloAddress, question: Question) -> Reply:
        data = question.encoded(self._current.topology.version)
        timeout = self._deps.options.ask_timeout
        return decode(Reply, await self._deps.ask(owner, question.service, data, timeout))

    def _owner(self, question: Question) -> SiloAddress | None:
        return self._current.topology.owner(question.grain_id.ring_hash)

    def _is_over(self) -> bool:
        """Whether waiting for another view is in vain: we are dead, or the last to leave."""
        topology = self._current.topology
        leaving = topology.status(self._deps.me) is SiloStatus.LEAVING
        return topology.is_dead(self._deps.me) or (leaving and not topology.ring.addresses)

    def _unavailable(self, question: Question, reason: str) -> SiloUnavailable:
        owner = self._owner(question)
        if owner is None:
            return SiloUnavailable(f"no silo is active, so nobody knows where {question.grain_id} lives; start one")
        if reason == Refusal.NOT_READY:
            reason = "its range is being recovered; try again"
        if reason == Refusal.HELD:
            reason = "a silo that has just died may still run it; try again"
        return SiloUnavailable(f"the directory could not answer for {question.grain_id} (owner {owner}): {reason}")
