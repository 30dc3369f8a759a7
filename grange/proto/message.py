"""The messages that two processes exchange after the handshake.

Payloads are bytes already; `grange.proto.values` makes them. The transport puts messages into frames. The order, types
and tags of the fields are the contract of packed frames (`packed.py`): a new field needs a default and comes last, and
a tag is the number of the message's list in the protobuf frame.
"""

from __future__ import annotations

import enum

import msgspec

from grange.proto.ids import GrainId, SiloAddress, UInt32, UInt64


class Encoding(enum.IntEnum):
    """The encoding of a payload."""

    MSGPACK = 0
    JSON = 1


class Request(msgspec.Struct, array_like=True, tag=4, gc=False):
    """A request to run `method` of the grain with these arguments. `id` is unique per connection and direction.

    `args` is an array of positional arguments. `timeout_ms` is the time left when it was sent (0: no limit). `context`
    is the request context as MessagePack (empty: none). `view` is the sender's membership version. `traceparent` is the
    W3C trace context of the call, also if it is not sampled (empty: none); the receiver drops a text that is none.
    `chain` is the turns that wait for the request (`chain.py`; empty: none); the receiver drops that of a client.
    `interface_version` is the version of the interface that its caller was written for (`versions.py`; 0: any).
    `principal` is the identity of its origin (`identity.py`; empty: none); that of a client is its connection's.
    """

    id: UInt64
    grain_id: GrainId
    method: str
    args: bytes
    encoding: Encoding = Encoding.MSGPACK
    timeout_ms: UInt32 = 0
    context: bytes = b""
    one_way: bool = False
    view: UInt64 = 0
    traceparent: str = ""
    chain: bytes = b""
    interface_version: UInt32 = 0
    principal: bytes = b""


class Response(msgspec.Struct, array_like=True, tag=5, gc=False):
    """The request was executed. `payload` is the result, or the fault (`grange.proto.faults`) if `failed`.

    The response to a one-way request has no payload: it means that the receiver accepted the request.
    """

    id: UInt64
    payload: bytes = b""
    failed: bool = False


class Reason(enum.IntEnum):
    """The reason why a request has no response. Every reason except LOST means that no user code ran."""

    NOT_HERE = 1  # the grain is in another silo (`hint`, if known), or must be located again
    NOT_READY = 2  # the silo joins, leaves or is fenced, or recovers its directory range
    OVERLOADED = 3
    NO_SUCH_GRAIN = 4
    NO_SUCH_METHOD = 5
    INVALID_CALL = 6
    PAYLOAD_TOO_LARGE = 7
    EXPIRED = 8  # its time was over before it could start
    ACTIVATION_FAILED = 9  # `fault` holds the error of the constructor, the state or on_activate
    CANCELLED = 10  # its caller cancelled it while it waited
    LOST = 11  # the outcome is unknown: the silo stopped, or a gateway lost its connection to the silo
    UNAUTHORIZED = 12  # the role of the connection does not allow it


class Rejection(msgspec.Struct, array_like=True, tag=6, gc=False):
    """The request was refused before user code ran. The caller's retry loop repeats only NOT_HERE and NOT_READY."""

    id: UInt64
    reason: Reason
    message: str = ""
    hint: SiloAddress | None = None
    retry_after_ms: UInt32 = 0
    fault: bytes = b""


GOODBYE = Rejection(0, Reason.NOT_READY, "this silo is leaving and takes no more requests")
"""The goodbye of the accepting side; it belongs to no request. The accepting side refuses all later requests. The
opening side ends the stream when it has all answers, so no answer on its way is lost."""


def renewal(text: str, cut_in: float = 0.0) -> Rejection:
    """The goodbye for a renewal: the opening side is to open another connection to the same silo, for `text`.

    The accepting side takes requests until the opening side has moved to that connection. It cuts this one after
    `cut_in` seconds (0: not soon). A peer that knows only `GOODBYE` takes it for one: it connects anew as well.
    """
    return Rejection(0, Reason.EXPIRED, text, retry_after_ms=int(cut_in * 1000))


def is_renewal(goodbye: Rejection) -> bool:
    """Whether a goodbye asks for another connection; otherwise the silo is leaving."""
    return goodbye.reason is Reason.EXPIRED


class Cancel(msgspec.Struct, array_like=True, tag=7, gc=False):
    """The caller of request `id` no longer waits: drop the request if it has not started.

    `interrupt`: also cancel its turn if it runs and the method is `@cancellable`.
    """

    id: UInt64
    interrupt: bool = False


class Status(msgspec.Struct, array_like=True, tag=8, gc=False):
    """The progress of request `id`, for the caller's time-out message ("queued at 3", "running for 12 s")."""

    id: UInt64
    text: str


Message = Request | Response | Rejection | Cancel | Status
