"""Identities: of a grain, of one run of a silo process, and of one activation with its silo."""

from __future__ import annotations

import msgspec
import xxhash

from grange.errors import ConfigurationError


class GrainId(msgspec.Struct, frozen=True, cache_hash=True, order=True, gc=False):
    """The permanent identity of a grain: its type and its key as canonical text (see `grange.proto.keys`).

    Storage, the directory and messages contain it, so the meaning of its parts must never change.
    """

    type: str
    key: str

    def __str__(self) -> str:
        return f"{self.type}/{self.key}"

    @property
    def ring_hash(self) -> int:
        """The grain's place on the hash ring: 64 bits, the same in every process (xxh3 over type, NUL, key)."""
        return xxhash.xxh3_64_intdigest(f"{self.type}\0{self.key}".encode())


class SiloAddress(msgspec.Struct, frozen=True, cache_hash=True, order=True, gc=False):
    """One run of a silo process: host and port for silo traffic, and a generation that rises with each start.

    A higher generation at the same endpoint proves that the older process is gone.
    """

    host: str
    port: int
    generation: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}@{self.generation}"

    @property
    def endpoint(self) -> str:
        """`host:port`, shared by all generations."""
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> SiloAddress:
        """The inverse of `str()`. Raises ConfigurationError for any other text."""
        endpoint, at, generation = text.rpartition("@")
        host, colon, port = endpoint.rpartition(":")
        if not (at and colon and host and port.isdecimal() and generation.isdecimal()):
            raise ConfigurationError(f"not a silo address: {text!r}; expected host:port@generation")
        return cls(host, int(port), int(generation))


class GrainAddress(msgspec.Struct, frozen=True, gc=False):
    """One activation of a grain and its silo: an entry of the directory.

    `activation` is a random 128-bit number (`Activation.activation_id`); `version` is the membership version under
    which it was registered.
    """

    grain_id: GrainId
    silo: SiloAddress
    activation: int
    version: int = 0

    def same_activation(self, other: GrainAddress | None) -> bool:
        """Whether both are the same activation; `version` may differ."""
        return other is not None and self.activation == other.activation and self.silo == other.silo
