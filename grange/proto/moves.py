"""The move of an activation from one silo to another: a question to the new silo. Part of the wire contract. Pure."""

from __future__ import annotations

import msgspec

from grange.proto.ids import GrainAddress, GrainId, SiloAddress

MOVE = "activation.move"
"""The name of the system target. It is on the wire."""


class MoveActivation(msgspec.Struct, frozen=True, array_like=True):
    """Question: continue this activation of the asking silo, with its memory (empty: it carries nothing).

    The activation id is 16 bytes, because MessagePack integers end at 64 bits. `version` is that of its registration.
    """

    type: str
    key: str
    silo: SiloAddress
    activation: bytes
    version: int
    memory: bytes

    @property
    def address(self) -> GrainAddress:
        """The activation to continue."""
        return GrainAddress(
            GrainId(self.type, self.key), self.silo, int.from_bytes(self.activation, "big"), self.version
        )


class Moved(msgspec.Struct, frozen=True, array_like=True):
    """Answer: whether the activation is active there now, else why not.

    `spoiled`: what it carried could not be rehydrated. `full`: too many activations arrive there at this moment.
    """

    arrived: bool
    text: str = ""
    spoiled: bool = False
    full: bool = False


def question(address: GrainAddress, memory: bytes) -> bytes:
    """The question about this activation."""
    grain_id = address.grain_id
    activation = address.activation.to_bytes(16, "big")
    return msgspec.msgpack.encode(
        MoveActivation(grain_id.type, grain_id.key, address.silo, activation, address.version, memory)
    )


def read_question(data: bytes) -> MoveActivation:
    """Decode a question. Raises `msgspec.MsgspecError` for other bytes."""
    return msgspec.msgpack.decode(data, type=MoveActivation)


def read_answer(data: bytes) -> Moved:
    """Decode an answer. Raises `msgspec.MsgspecError` for other bytes."""
    return msgspec.msgpack.decode(data, type=Moved)
