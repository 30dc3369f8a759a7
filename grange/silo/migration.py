"""Carries activations from silo to silo: `moves.Carrier` on the old silo, a system target on the new one."""

from __future__ import annotations

import asyncio

import msgspec

from grange.directory.cluster import ClusterDirectory
from grange.errors import GrangeError
from grange.proto import moves
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.moves import Arrival, Landed
from grange.runtime.requests.refusal import Refused
from grange.runtime.system_target import Ask, SystemTargets

MOST_ARRIVALS = 200
"""Activations of other silos that arrive at the same time; further ones stay where they are. A silo that stops sends at
most half of that at once."""


class Migration:
    """The moves from and to one silo. An activation has moved when it is active on the other silo."""

    def __init__(self, ask: Ask, catalog: Catalog, directory: ClusterDirectory) -> None:
        self._ask = ask
        self._catalog = catalog
        self._locator, self._placer = directory.locator, directory.placer
        options = catalog.deps.options
        self._timeout = options.move_timeout
        self._limit = options.carried_limit
        self._arriving = 0

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target, to other silos only."""
        targets.serve(moves.MOVE, self._answer)

    # --- Carrier --------------------------------------------------------------------------------------------------

    def obstacle(self, grain_type: str, target: SiloAddress, wanted: int = 0) -> str:
        """See `Carrier`."""
        return self._placer.obstacle(grain_type, target, wanted)

    def elsewhere(self, grain_id: GrainId) -> SiloAddress | None:
        """See `Carrier`."""
        return self._placer.elsewhere(grain_id)

    def expect(self, grain_id: GrainId, silo: SiloAddress) -> None:
        """See `Carrier`."""
        self._locator.expect(grain_id, silo)

    async def carry(self, address: GrainAddress, target: SiloAddress, memory: bytes) -> Landed:
        """See `Carrier`."""
        try:
            answer = await self._ask(target, moves.MOVE, moves.question(address, memory), self._timeout)
            moved = moves.read_answer(answer)
        except (GrangeError, msgspec.MsgspecError) as error:
            return Landed(None, f"silo {target} did not take it: {error}")
        if not moved.arrived:
            return Landed(None, f"silo {target} did not take it: {moved.text}", moved.spoiled)
        self._locator.expect(address.grain_id, target)
        return Landed(target)

    # --- the other end --------------------------------------------------------------------------------------------

    async def _answer(self, data: bytes) -> bytes:
        """The system target `activation.move`: answers when the activation is active here, or cannot be."""
        return msgspec.msgpack.encode(await self._take(moves.read_question(data)))

    async def _take(self, asked: moves.MoveActivation) -> moves.Moved:
        if len(asked.memory) > self._limit:
            return moves.Moved(False, f"it carries {len(asked.memory)} bytes; runtime.carried_limit is {self._limit}")
        if self._arriving >= MOST_ARRIVALS:
            return moves.Moved(False, f"{self._arriving} activations arrive already")
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
