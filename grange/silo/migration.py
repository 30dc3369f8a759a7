"""Carries activations from silo to silo: `moves.Carrier` on the old silo, a system target on the new one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import msgspec

from grange.counted import counted
from grange.directory.cluster import ClusterDirectory
from grange.errors import CallNotExecuted, GrangeError
from grange.proto import moves
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.moves import Arrival, Landed
from grange.runtime.requests.refusal import Refused
from grange.runtime.system_target import Ask, SystemTargets

MOST_ARRIVALS = 200
"""Activations of other silos that arrive at the same time; further ones stay where they are, or wait there if that silo
stops. It sends at most half of that at once."""

ANSWER_TIMEOUT = 5.0
"""Most seconds for the other silo to answer. Then the directory says which activation continues: the callers of the
grain must not wait longer for a message that was lost."""


class Migration:
    """The moves from and to one silo. An activation has moved when it is active on the other silo."""

    def __init__(self, ask: Ask, catalog: Catalog, directory: ClusterDirectory) -> None:
        self._ask = ask
        self._catalog = catalog
        self._locator, self._placer = directory.locator, directory.placer
        self._directory = directory.directory
        options = catalog.deps.options
        self._timeout = min(options.move_timeout, ANSWER_TIMEOUT)
        self._limit = options.carried_limit
        self._arriving = 0

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target, to other silos only."""
        targets.serve(moves.MOVE, self._answer)

    # --- Carrier --------------------------------------------------------------------------------------------------

    def obstacle(self, grain_type: str, target: SiloAddress, wanted: int = 0) -> str:
        """See `Carrier`."""
        return self._placer.obstacle(grain_type, target, wanted)

    def elsewhere(self, grain_id: GrainId, but: Collection[SiloAddress] = ()) -> SiloAddress | None:
        """See `Carrier`."""
        return self._placer.elsewhere(grain_id, but)

    def expect(self, grain_id: GrainId, silo: SiloAddress) -> None:
        """See `Carrier`."""
        self._locator.expect(grain_id, silo)

    async def carry(self, address: GrainAddress, target: SiloAddress, memory: bytes) -> Landed:
        """See `Carrier`."""
        try:
            answer = await self._ask(target, moves.MOVE, moves.question(address, memory), self._timeout)
            moved = moves.read_answer(answer)
        except CallNotExecuted as error:
            return Landed(None, f"silo {target} did not take it: {error}")
        except Exception as error:  # its answer is late, lost or unreadable
            return await self._after_silence(address, target, error)
        if not moved.arrived:
            return Landed(None, f"silo {target} did not take it: {moved.text}", moved.spoiled, moved.full)
        self._locator.expect(address.grain_id, target)
        return Landed(target)

    async def _after_silence(self, address: GrainAddress, target: SiloAddress, error: Exception) -> Landed:
        """The outcome of a move without an answer, as the directory has it.

        While the entry is the old one, this silo may continue: a claim of the other silo that comes later loses. If it
        is another one, or there is none, an activation that got the memory may have served calls, and may have ended.
        So the memory must not be used again.
        """
        text = f"silo {target} has not answered: {error}"
        try:
            entry = await self._directory.lookup(address.grain_id)
        except GrangeError as unknown:
            return Landed(None, f"{text}; {unknown}", spoiled=True)
        if entry is not None and entry.same_activation(address):
            return Landed(None, text)
        if entry is not None and entry.silo == target:
            self._locator.expect(address.grain_id, target)
            return Landed(target, text)
        return Landed(None, f"{text}; another activation has followed", spoiled=True)

    # --- the other end --------------------------------------------------------------------------------------------

    async def _answer(self, data: bytes) -> bytes:
        """The system target `activation.move`: answers when the activation is active here, or cannot be."""
        return msgspec.msgpack.encode(await self._take(moves.read_question(data)))

    async def _take(self, asked: moves.MoveActivation) -> moves.Moved:
        if len(asked.memory) > self._limit:
            return moves.Moved(False, f"it carries {len(asked.memory)} bytes; runtime.carried_limit is {self._limit}")
        if self._arriving >= MOST_ARRIVALS:
            arriving = counted(self._arriving, "activation arrives", "activations arrive")
            return moves.Moved(False, f"{arriving} already", full=True)
        arrival = Arrival(asked.address, asked.memory)
        self._arriving += 1
        try:
            self._catalog.arrive(arrival)
            landed = await asyncio.shield(arrival.outcome)
        except Refused as refused:
            return moves.Moved(False, refused.message)
        finally:
            self._arriving -= 1
        return moves.Moved(landed.silo is not None, landed.text, landed.spoiled)
