"""The three operations of the directory, each as decided here or as sent to the owner of the slice. Pure."""

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


class Question(Protocol):
    """One operation. Used by `partitioned.py`, which finds the owner and repeats what was not decided."""

    @property
    def service(self) -> str:
        """The system target that takes it."""
        ...

    @property
    def grain_id(self) -> GrainId:
        """The grain it is about."""
        ...

    def decide(self, partition: Partition) -> GrainAddress | Refusal | None:
        """Ask our own slice."""
        ...

    def encoded(self, version: int) -> bytes:
        """The question to another owner, under our view of this version."""
        ...

    def is_won(self, answer: GrainAddress | None) -> bool:
        """Whether the asker will believe that it runs the grain's one activation."""
        ...


class RegisterQuestion(msgspec.Struct, frozen=True):
    """`GrainDirectory.register`."""

    address: GrainAddress
    previous: GrainAddress | None
    service: str = REGISTER

    @property
    def grain_id(self) -> GrainId:
        """The grain it is about."""
        return self.address.grain_id

    def decide(self, partition: Partition) -> GrainAddress | Refusal:
        """Ask our own slice."""
        return partition.register(self.address, self.previous)

    def encoded(self, version: int) -> bytes:
        """The question to another owner."""
        previous = None if self.previous is None else to_entry(self.previous)
        return encode(Register(version, to_entry(self.address), previous))

    def is_won(self, answer: GrainAddress | None) -> bool:
        """If it stands."""
        return self.address.same_activation(answer)


class LookupQuestion(msgspec.Struct, frozen=True):
    """`GrainDirectory.lookup`."""

    grain_id: GrainId
    service: str = LOOKUP

    def decide(self, partition: Partition) -> GrainAddress | Refusal | None:
        """Ask our own slice."""
        return partition.lookup(self.grain_id)

    def encoded(self, version: int) -> bytes:
        """The question to another owner."""
        return encode(Lookup(version, self.grain_id.type, self.grain_id.key))

    def is_won(self, answer: GrainAddress | None) -> bool:
        """No: a place may be out of date whenever it is read."""
        return False


class UnregisterQuestion(msgspec.Struct, frozen=True):
    """`GrainDirectory.unregister`."""

    address: GrainAddress
    service: str = UNREGISTER

    @property
    def grain_id(self) -> GrainId:
        """The grain it is about."""
        return self.address.grain_id

    def decide(self, partition: Partition) -> Refusal | None:
        """Ask our own slice."""
        return partition.unregister(self.address)

    def encoded(self, version: int) -> bytes:
        """The question to another owner."""
        return encode(Unregister(version, to_entry(self.address)))

    def is_won(self, answer: GrainAddress | None) -> bool:
        """No."""
        return False
