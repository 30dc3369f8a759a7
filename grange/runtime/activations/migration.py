"""Both ends of a move: what an activation takes along, how it leaves, and how its successor gets it.

The old activation runs no code any more when the new one claims the grain with the old one as `previous`. So the
directory decides each case: of all that claim to continue the old activation, one wins. If the other silo did not take
it, this silo continues it in a new activation, with the same memory. ADR 0087 argues it.
"""

from __future__ import annotations

import asyncio
import logging

from grange.proto.ids import SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.draining import STOPPING
from grange.runtime.activations.hosted import Built
from grange.runtime.activations.moves import Arrival, Departure, Landed
from grange.runtime.activations.phase import UNSAVED, Phase, is_abandoned
from grange.runtime.requests.refusal import Refused

log = logging.getLogger("grange.runtime")

ROOM_TIMEOUT = 10.0
"""Seconds that an activation of a silo that stops waits at most for a silo with room for what it carries."""

ROOM_PAUSE = 0.1
"""Seconds after which full silos are asked again."""


def departure_of(activation: Activation) -> Departure | None:
    """How a deactivating activation moves, None if it only ends. While its silo stops, one that has `dehydrate` moves.

    An activation that was given up or abandoned does not move: its memory holds changes that are not stored.
    """
    departure = activation.deps.moves.departures.get(activation.activation_id)
    if departure is None and activation.reason is STOPPING and activation.hosted.memory is not None:
        departure = Departure(None)
    if departure is not None and (
        activation.phase is Phase.GONE or activation.reason is UNSAVED or is_abandoned(activation.reason)
    ):
        departure.settle(Landed(None, f"the activation ended: {activation.reason}"))
        return None
    return departure


async def dehydrated(activation: Activation, built: Built) -> bytes:
    """What the activation takes along, encoded; empty if its class carries nothing.

    Raises any error of `dehydrate`, and ValueError for a result that cannot be carried.
    """
    codec = activation.hosted.memory
    if codec is None:
        return b""
    memory = codec.encode(await built.grain.dehydrate())  # type: ignore[attr-defined]
    limit = activation.deps.options.carried_limit
    if len(memory) > limit:
        raise ValueError(
            f"dehydrate of {activation.grain_id} returned {len(memory)} bytes; runtime.carried_limit is {limit}"
        )
    return memory


async def rehydrate(activation: Activation, built: Built, arrival: Arrival) -> None:
    """Give a new activation what the old one took along. Raises Refused if that fails: the old silo continues it."""
    codec = activation.hosted.memory
    if codec is None or not arrival.memory:
        return
    try:
        await built.grain.rehydrate(codec.decode(arrival.memory))  # type: ignore[attr-defined]
    except Exception as error:
        arrival.spoiled = True
        log.error(
            "%s: rehydrate failed; it continues without what it carried", activation.grain_id, exc_info=error,
            extra={"event": "lifecycle_failed", "grain_type": activation.grain_id.type},
        )  # fmt: skip
        raise Refused(Reason.NOT_HERE, f"rehydrate raised {type(error).__qualname__}") from error


async def _find_room(activation: Activation, refused: SiloAddress, landed: Landed, memory: bytes) -> Landed:
    """Have any other silo continue an activation of a silo that stops, after one did not take it.

    Silos that are full are asked again, for as long as it may take until a place is free.
    """
    carrier, address = activation.deps.moves.carrier, activation.address
    clock = asyncio.get_running_loop().time
    end = clock() + min(ROOM_TIMEOUT, activation.deps.options.move_timeout)
    full, others = ({refused}, set[SiloAddress]()) if landed.full else (set[SiloAddress](), {refused})
    while landed.silo is None and not landed.spoiled and activation.phase is not Phase.GONE and clock() < end:
        target = carrier.elsewhere(activation.grain_id, full | others)
        if target is not None:
            landed = await carrier.carry(address, target, memory)
            (full if landed.full else others).add(target)
        elif full:
            full.clear()
            await asyncio.sleep(ROOM_PAUSE)
        else:
            break
    return landed


async def depart(activation: Activation, departure: Departure, memory: bytes) -> Landed:
    """Have another silo continue this activation, which runs no code any more and whose state is closed.

    If none takes it, this silo continues it, unless it stops. Afterwards `claimed` says whether the entry of this
    activation must still be released.
    """
    moves, address, figures = activation.deps.moves, activation.address, activation.figures
    # From here on a recovery of the directory must not restore this entry over that of the new activation.
    activation.claimed = False
    landed = Landed(None, "no other silo can take it")
    continued = False
    try:
        target = departure.target or moves.carrier.elsewhere(activation.grain_id)
        if target is not None:
            landed = await moves.carrier.carry(address, target, memory)
        if landed.silo is None:
            continued = activation.owner.continue_here(activation, b"" if landed.spoiled else memory)
        if target is not None and landed.silo is None and not continued and memory and not landed.spoiled:
            landed = await _find_room(activation, target, landed, memory)
    finally:
        activation.claimed = landed.silo is None and not continued
        departure.settle(landed)
    if landed.silo is not None:
        figures.moved += 1
    else:
        figures.moves_failed += 1
        log.info(
            "%s did not move: %s; %s", activation.grain_id, landed.text,
            "it continues here" if continued else "it ended, and the next call activates it again",
            extra={"event": "move_failed", "grain_type": activation.grain_id.type},
        )  # fmt: skip
    return landed
