"""The moves of activations to other silos: the two ends of one, and the contract of the part that carries it.

`migration.py` runs both ends. `silo/migration.py` carries what `dehydrate` returned to the other silo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

import msgspec

from grange.proto.ids import GrainAddress, GrainId, SiloAddress


class Landed(msgspec.Struct, frozen=True):
    """The outcome of a move: the silo where the grain is active now, or None and the reason why it did not move.

    `spoiled`: what was carried is dropped, because it could not be rehydrated, or because another activation may have
    continued it already. `full`: the other silo has no room at this moment.
    """

    silo: SiloAddress | None
    text: str = ""
    spoiled: bool = False
    full: bool = False


class Move:
    """One end of a move, with its outcome. `outcome` never raises."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Landed] = asyncio.get_running_loop().create_future()

    def settle(self, landed: Landed) -> None:
        """Set the outcome, unless there is one."""
        if not self.outcome.done():
            self.outcome.set_result(landed)


class Departure(Move):
    """An activation of this silo that moves to `target`; None: to the silo that its placement chooses."""

    def __init__(self, target: SiloAddress | None) -> None:
        super().__init__()
        self.target = target


class Arrival(Move):
    """An activation that continues `previous`, of another silo or of this one, with its `memory` (empty: none)."""

    def __init__(self, previous: GrainAddress, memory: bytes) -> None:
        super().__init__()
        self.previous = previous
        self.memory = memory
        self.spoiled = False


class Carrier(Protocol):
    """Finds the silo to which an activation moves, and carries it there."""

    def obstacle(self, grain_type: str, target: SiloAddress, wanted: int = 0) -> str:
        """Why this silo cannot take grains of this type; empty if it can."""
        ...

    def elsewhere(self, grain_id: GrainId, but: Collection[SiloAddress] = ()) -> SiloAddress | None:
        """The silo that the grain's placement chooses among the other silos, without some; None if none can take it."""
        ...

    def expect(self, grain_id: GrainId, silo: SiloAddress) -> None:
        """Callers in this process shall try this silo next, because this one does not take the grain."""
        ...

    async def carry(self, address: GrainAddress, target: SiloAddress, memory: bytes) -> Landed:
        """Have `target` continue this activation, which runs no code any more. Never raises an error of a call.

        Without a silo in the result, the target may have registered its activation all the same: the directory knows.
        """
        ...


class NoCarrier:
    """The carrier of a single process: there is no other silo."""

    def obstacle(self, grain_type: str, target: SiloAddress, wanted: int = 0) -> str:
        """Always."""
        return "this process has no other silos"

    def elsewhere(self, grain_id: GrainId, but: Collection[SiloAddress] = ()) -> SiloAddress | None:
        """Never."""
        return None

    def expect(self, grain_id: GrainId, silo: SiloAddress) -> None:
        """Never called."""

    async def carry(self, address: GrainAddress, target: SiloAddress, memory: bytes) -> Landed:
        """Never."""
        return Landed(None, "this process has no other silos")


class Moves:
    """The moves of one silo that are under way, by activation id. `carrier` is set when the silo starts.

    Each stays until its activation is active, or gone: code that hangs must not keep those that wait for the outcome.
    """

    def __init__(self) -> None:
        self.carrier: Carrier = NoCarrier()
        self.departures: dict[int, Departure] = {}
        self.arrivals: dict[int, Arrival] = {}

    def drop(self, activation_id: int, reason: object) -> None:
        """The activation is gone: it neither moves any more nor continues another one."""
        if self.departures and (departure := self.departures.pop(activation_id, None)) is not None:
            departure.settle(Landed(None, f"the activation ended: {reason}"))
        if self.arrivals and (arrival := self.arrivals.pop(activation_id, None)) is not None:
            arrival.settle(Landed(None, str(reason), arrival.spoiled))
