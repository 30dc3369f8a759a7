"""The ids of clients and of their observers, to which silos send calls. Pure.

A client proves its id by a secret, its key: the id is a hash of it. So a process that was given a reference to an
observer, and with it the id of its client, cannot connect as that client.
"""

from __future__ import annotations

from hashlib import blake2b

from grange.proto.ids import GrainId

CLIENT_TYPE = "$client"
"""The grain type of clients and observers. No grain class can have this name."""

KEY_BYTES = 16
"""Bytes of a client's key; in a Hello at least so many, and at most `MOST_KEY_BYTES`."""

MOST_KEY_BYTES = 64

_ID_BYTES = 16


def client_id(key: bytes) -> str:
    """The id of the client with this key: 32 hex digits."""
    return blake2b(key, digest_size=_ID_BYTES).hexdigest()


def grain_id_of_client(client: str) -> GrainId:
    """The grain id of a client, which gives it a place on the hash ring."""
    return GrainId(CLIENT_TYPE, client)


def observer_id(client: str, number: int) -> GrainId:
    """The grain id of an observer: `$client/client/number`. The number is random, 64 bits: it cannot be guessed."""
    return GrainId(CLIENT_TYPE, f"{client}/{number:016x}")


def client_of(grain_id: GrainId) -> str:
    """The client of an observer."""
    return grain_id.key.partition("/")[0]
