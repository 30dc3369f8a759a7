"""Encodes and decodes packed frames: the messages as MessagePack, between two granges that agreed on it (ADR 0069).

The same messages, limits and errors as in `codec.py`, in a fifth of its time. docs/wire.md describes the bytes; the
classes in `message.py` define them.
"""

from __future__ import annotations

import msgspec

from grange.proto.codec import MAX_MESSAGES, InvalidFrame
from grange.proto.message import Message

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Message]).decode


def encode_frame(messages: list[Message]) -> bytes:
    """The bytes of one packed frame that holds these messages, at most `MAX_MESSAGES`."""
    try:
        return _encode(messages)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def decode_frame(data: bytes, limit: int) -> list[Message]:
    """The messages of a packed frame, in order. Raises InvalidFrame unless the data is one of at most `limit` bytes."""
    if len(data) > limit:
        raise InvalidFrame(f"a frame of {len(data):,} bytes is over the limit of {limit:,}")
    if _count(data) > MAX_MESSAGES:  # the decoder makes the list before it looks at the messages
        raise InvalidFrame(f"a frame holds more than {MAX_MESSAGES:,} messages")
    try:
        return _decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidFrame(f"these {len(data):,} bytes are not a packed frame: {error}") from None


def _count(data: bytes) -> int:
    """The length of the array that the data begins with; 0 if it begins with anything else."""
    first = data[0] if data else 0
    if first & 0xF0 == 0x90:
        return first & 0x0F
    if first in (0xDC, 0xDD):
        return int.from_bytes(data[1 : 3 if first == 0xDC else 5])
    return 0
