"""Identities: of a grain, of one run of a silo process, and of one activation with its silo."""

from __future__ import annotations

from typing import Annotated

import msgspec
import xxhash

from grange.errors import ConfigurationError

UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, msgspec.Meta(ge=0)]
"""The numbers of the wire; a decoder refuses all others. MessagePack itself has no integers above 64 bits."""


class GrainId(msgspec.Struct, frozen=True, order=True, gc=False):
    """The permanent identity of a grain: its type and its key as canonical text (see `grange.proto.keys`).

    Storage, the directory and messages contain it, so the meaning of its parts must never change. It does not keep its
    hash: both texts do, so to combine them takes 5 ns, and the number would take 44 bytes in each of a million grains.
    """

    type: str
    key: str

    def __str__(self) -> str:
        return f"{self.type}/{self.key}"

    @property
    def ring_hash(self) -> int:
        """The grain's place on the hash ring: 64 bits, the same in every process (xxh3 over type, NUL, key)."""
        return xxhash.xxh3_64_intdigest(f"{self.type}\0{self.key}".encode())


def endpoint_of(host: str, port: int) -> str:
    """`host:port`. An IPv6 address gets brackets, `[::1]:11111`, because its own colons would hide where it ends."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_endpoint(text: str) -> tuple[str, int] | None:
    """The inverse of `endpoint_of`: host and port. None for any other text, also an IPv6 address without brackets."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal()):
        return None
    if ":" not in host:
        return host, int(port)
    return (host[1:-1], int(port)) if host[0] == "[" and host[-1] == "]" else None


class SiloAddress(msgspec.Struct, frozen=True, cache_hash=True, order=True, gc=False):
    """One run of a silo process: host and port for silo traffic, and a generation that rises with each start.

    A higher generation at the same endpoint proves that the older process is gone.
    """

    host: str
    port: UInt32
    generation: UInt64

    def __str__(self) -> str:
        return f"{self.endpoint}@{self.generation}"

    @property
    def endpoint(self) -> str:
        """`host:port`, shared by all generations; `[::1]:11111` for an IPv6 address."""
        return endpoint_of(self.host, self.port)

    @classmethod
    def parse(cls, text: str) -> SiloAddress:
        """The inverse of `str()`. Raises ConfigurationError for any other text."""
        endpoint, at, generation = text.rpartition("@")
        parts = split_endpoint(endpoint)
        if not (at and parts is not None and generation.isdecimal()):
            raise ConfigurationError(f"not a silo address: {text!r}; expected host:port@generation")
        return cls(*parts, int(generation))


class GrainAddress(msgspec.Struct, frozen=True, gc=False):
    """One activation of a grain and its silo: an entry of the directory.

    `activation` is a number of 128 bits (`ActivationDeps.new_activation_id`), which no two activations share. `version`
    is the membership version under which it was registered.
    """

    grain_id: GrainId
    silo: SiloAddress
    activation: int
    version: int = 0

    def same_activation(self, other: GrainAddress | None) -> bool:
        """Whether both are the same activation; `version` may differ."""
        return other is not None and self.activation == other.activation and self.silo == other.silo
