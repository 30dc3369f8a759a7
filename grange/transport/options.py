"""The options of the transport, each with its unit and the reason for its default."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError
from grange.option_ranges import check_ranges, values_and_defaults
from grange.proto.codec import MAX_MESSAGES

LONGEST = 1e6
"""Seconds; the largest value of a duration here: gRPC takes milliseconds of 32 bits, which are 24 days."""

KIB = 1024
MIB = 1024 * KIB

DEFAULT_PAYLOAD_LIMIT = 4 * MIB
"""The payload limit, in bytes, of a peer that states none (part of the wire contract): the default of gRPC servers."""

FRAME_OVERHEAD = MIB
"""Bytes by which a frame may exceed the payload limit of its receiver (part of the wire contract)."""

MESSAGE_OVERHEAD = 64
"""Upper bound, in bytes, of the tags, lengths and numbers of one message in a frame."""


class TransportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and time-outs of every connection of one transport. Times are in seconds, sizes in bytes.

    Raises ConfigurationError, naming the option, for a value that cannot work.
    """

    queue_messages: int = 4096
    """Messages in one send queue before callers wait: a few milliseconds of work for a fast peer, little memory for a
    slow one.
    """

    queue_bytes: int = 16 * MIB
    """Payload bytes in one send queue before callers wait, and before requests of a peer that does not read wait."""

    frame_messages: int = 256
    """Largest number of messages in one frame: a larger batch is not faster and delays its first message. A frame
    that would take a whole queue of 64 or more takes half of it, so that both ends work at once.
    """

    frame_bytes: int = 256 * KIB
    """A frame of this size takes no further message: small answers must not wait behind large ones."""

    packed_frames: bool = True
    """Write packed frames (MessagePack) to peers that read them too: they take a fifth of the time. Off: write protobuf
    frames, which tools for gRPC can read.
    """

    payload_limit: int = DEFAULT_PAYLOAD_LIMIT
    """Largest payload of one message, sent or received; the handshake states it. Larger data belongs in storage."""

    header_limit: int = 64 * KIB
    """Largest total of the other parts of one message: grain type, key, method, request context."""

    connect_timeout: float = 2.0
    """Time from the first packet to the end of the handshake. A slower silo could not serve calls in time either."""

    close_timeout: float = 1.0
    """How long a closing connection may continue to write its queue."""

    keepalive_time: float = 2.0
    """Time between two pings on an idle connection."""

    keepalive_timeout: float = 4.0
    """A peer that does not answer a ping in this time is gone. It exceeds the pauses of a busy machine; gRPC's default
    of 60 s finds a death too late.
    """

    backoff_first: float = 0.1
    """Longest wait after the first failed attempt to connect; each further failure doubles it."""

    backoff_max: float = 1.0
    """Longest wait between two attempts: a returned silo is found within a second; with gRPC's default it took 15 s."""

    streams_per_connection: int = 100
    """HTTP/2 streams that one peer may open. grange needs one; the limit stops a hostile peer (rapid reset attack)."""

    connections: int = 10_000
    """Connections that one port accepts; further ones are refused. It accepts at most half as many as the process may
    have open files (`ulimit -n`), too. The port for silos and the gateway port count apart, and so do gRPC and sockets.
    """

    connections_per_address: int = 1000
    """Those from one address: one of IPv4, or a network of 64 bits of IPv6. Set it to `connections` if a proxy or NAT
    stands before the clients.
    """

    handshakes: int = 2000
    """Connections of one port that have sent no Hello yet. Beyond, the oldest one ends."""

    handshakes_per_address: int = 500
    """Those from one address: as many clients as may come in one moment, from one address, to a silo that restarts."""

    frame_timeout: float = 30.0
    """Time in which a frame that has begun must have come. A peer whose frame trickles fills memory meanwhile. Only the
    road of plain sockets can tell.
    """

    def __post_init__(self) -> None:
        check_ranges("transport", *values_and_defaults(self), longest=LONGEST)
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
        """The largest frame that this side accepts, in bytes."""
        return self.payload_limit + FRAME_OVERHEAD
