"""The three operations of the directory. Each is decided by our own slice, or sent to the owner of the range. Pure."""

from __future__ import annotations

from typing import Protocol

import msgspec

from grange.directory.slice.messages import (
    LOOKUP,
    REGISTER,
    UNREGISTER,
    Lookup,
    Register,
    Unregister,
    encode,
    to_entry,
)
from grange.directory.slice.partition import Partition, Refusal
from grange.proto.ids import GrainAddress, GrainId


class Operation(Protocol):
    """One operation on one grain. `directory_client.py` finds the owner and repeats the operation while refused."""

    @property
    def service(self) -> str:
        """The owner's system target for this operation."""
        ...

    @property
    def grain_id(self) -> GrainId:
        """The grain whose entry is read or changed."""
        ...

    def decide(self, partition: Partition) -> GrainAddress | Refusal | None:
        """Apply the operation to our own slice."""
        ...

    def encoded(self, version: int) -> bytes:
        """The request to another owner, under our view of this version."""
        ...

    def is_won(self, answer: GrainAddress | None) -> bool:
        """Whether this answer makes the caller run the activation as the registered one."""
        ...


class RegisterOperation(msgspec.Struct, frozen=True):
    """`GrainDirectory.register`."""

    address: GrainAddress
    previous: GrainAddress | None
    service: str = REGISTER

    @property
    def grain_id(self) -> GrainId:
        """The grain whose entry is changed."""
        return self.address.grain_id

    def decide(self, partition: Partition) -> GrainAddress | Refusal:
        """Apply the operation to our own slice."""
        return partition.register(self.address, self.previous)

    def encoded(self, version: int) -> bytes:
        """The request to another owner."""
        previous = None if self.previous is None else to_entry(self.previous)
        return encode(Register(version, to_entry(self.address), previous))

    def is_won(self, answer: GrainAddress | None) -> bool:
        """True if the entry is the activation that was to be registered."""
        return self.address.same_activation(answer)


class LookupOperation(msgspec.Struct, frozen=True):
    """`GrainDirectory.lookup`."""

    grain_id: GrainId
    service: str = LOOKUP

    def decide(self, partition: Partition) -> GrainAddress | Refusal | None:
        """Apply the operation to our own slice."""
        return partition.lookup(self.grain_id)

    def encoded(self, version: int) -> bytes:
        """The request to another owner."""
        return encode(Lookup(version, self.grain_id.type, self.grain_id.key))

    def is_won(self, answer: GrainAddress | None) -> bool:
        """Always false: a look-up registers nothing, and its answer may be out of date when it is read."""
        return False


class UnregisterOperation(msgspec.Struct, frozen=True):
    """`GrainDirectory.unregister`."""

    address: GrainAddress
    service: str = UNREGISTER

    @property
    def grain_id(self) -> GrainId:
        """The grain whose entry is removed."""
        return self.address.grain_id

    def decide(self, partition: Partition) -> Refusal | None:
        """Apply the operation to our own slice."""
        return partition.unregister(self.address)

    def encoded(self, version: int) -> bytes:
        """The request to another owner."""
        return encode(Unregister(version, to_entry(self.address)))

    def is_won(self, answer: GrainAddress | None) -> bool:
        """Always false: a release registers nothing."""
        return False
