"""Every number of the transport, with its unit and the reason for its value."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError
from grange.proto.codec import MAX_MESSAGES

KIB = 1024
MIB = 1024 * KIB

DEFAULT_PAYLOAD_LIMIT = 4 * MIB
"""What a peer takes that does not say (part of the contract): the message size that grpc servers everywhere
accept.
"""

FRAME_OVERHEAD = MIB
"""A frame is at most this much larger than the payload limit of the side that receives it (part of the
contract).
"""

MESSAGE_OVERHEAD = 64
"""More than the bytes that tags, lengths and numbers of one message take in a frame."""


class TransportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and time-outs of every connection of one transport. Times are in seconds, sizes in bytes.

    Raises ConfigurationError, naming the option, for a value that cannot work.
    """

    queue_messages: int = 4096
    """Messages in one send queue before `full`: some milliseconds of work for a fast peer, little memory for
    a slow one.
    """

    queue_bytes: int = 16 * MIB
    """Payload bytes in one send queue before `full`: a slow peer may cost this much memory, plus one message.
    """

    frame_messages: int = 256
    """Messages in one frame at most: beyond this a bigger batch gains nothing and only delays the first."""

    frame_bytes: int = 256 * KIB
    """A frame takes no further message once it holds this much: keeps small answers from waiting behind big
    ones.
    """

    payload_limit: int = DEFAULT_PAYLOAD_LIMIT
    """The largest payload of one message, sent or taken; a peer is told. What is larger belongs in storage.
    """

    header_limit: int = 64 * KIB
    """Everything else in one message together: grain type, key, method, request context."""

    connect_timeout: float = 2.0
    """From the first packet to the end of the handshake. A silo that needs longer would not be of use anyway.
    """

    close_timeout: float = 1.0
    """How long a closing connection may go on writing what is queued."""

    keepalive_time: float = 2.0
    """An idle connection asks after its peer this often."""

    keepalive_timeout: float = 4.0
    """A peer that leaves that question unanswered is gone: longer than the pauses a busy machine makes, where
    grpc's own 60 s find nothing in time.
    """

    backoff_first: float = 0.1
    """Wait after the first failed attempt to connect; each further failure doubles it."""

    backoff_max: float = 1.0
    """The longest wait: a silo that is back is found within a second, where grpc's default took 15."""

    streams_per_connection: int = 100
    """HTTP/2 streams one peer may open. Grange needs one; the rest bounds a hostile peer (rapid reset)."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"transport option {name} must be positive, not {getattr(self, name)!r}")
        if self.backoff_max < self.backoff_first:
            raise ConfigurationError("transport option backoff_max must not be smaller than backoff_first")
        if self.frame_messages > MAX_MESSAGES:
            raise ConfigurationError(f"transport option frame_messages must not be over {MAX_MESSAGES}")
        if self.frame_bytes + self.header_limit + MESSAGE_OVERHEAD * self.frame_messages > FRAME_OVERHEAD:
            raise ConfigurationError(
                f"transport options frame_bytes, header_limit and frame_messages together exceed a frame: "
                f"frame_bytes + header_limit + {MESSAGE_OVERHEAD} * frame_messages must stay within {FRAME_OVERHEAD}"
            )

    @property
    def frame_limit(self) -> int:
        """The largest frame that this side takes, in bytes."""
        return self.payload_limit + FRAME_OVERHEAD
