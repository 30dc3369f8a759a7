"""The messages that travel between two processes, once a connection stands.

Payloads are already bytes here; `grange.proto.values` makes them. The transport turns messages into frames.
"""

from __future__ import annotations

import enum

import msgspec

from grange.proto.ids import GrainId, SiloAddress


class Encoding(enum.IntEnum):
    """How a payload is written."""

    MSGPACK = 0
    JSON = 1


class Request(msgspec.Struct, gc=False):
    """Please run `method` of the grain with these arguments. `id` is unique per connection and direction.

    `args` is an array of positional arguments; `timeout_ms` is the time left when it was sent (0: none);
    `context` is the msgpack of the request context (empty: none); `view` is the sender's membership version.
    """

    id: int
    grain_id: GrainId
    method: str
    args: bytes
    encoding: Encoding = Encoding.MSGPACK
    timeout_ms: int = 0
    context: bytes = b""
    one_way: bool = False
    view: int = 0


class Response(msgspec.Struct, gc=False):
    """The request was executed. `payload` is the result, or the fault (`grange.proto.faults`) when `failed`.

    For a one-way request it only says that the receiver took charge, and carries nothing.
    """

    id: int
    payload: bytes = b""
    failed: bool = False


class Reason(enum.IntEnum):
    """Why a request has no response. All but LOST mean: no user code ran."""

    NOT_HERE = 1  # the grain lives elsewhere, or must be looked up again; `hint` may say where
    NOT_READY = 2  # the silo is joining, leaving, or its directory range is being recovered
    OVERLOADED = 3
    NO_SUCH_GRAIN = 4
    NO_SUCH_METHOD = 5
    INVALID_CALL = 6
    PAYLOAD_TOO_LARGE = 7
    EXPIRED = 8  # its time was over before it could start
    ACTIVATION_FAILED = 9  # `fault` holds what the constructor, the state or on_activate raised
    CANCELLED = 10  # its caller cancelled it while it still waited
    LOST = 11  # the exception to the rule: a gateway lost the silo that had it, so the outcome is unknown


class Rejection(msgspec.Struct, gc=False):
    """The request was refused before user code ran. Only NOT_HERE and NOT_READY are repeated by the caller's loop."""

    id: int
    reason: Reason
    message: str = ""
    hint: SiloAddress | None = None
    retry_after_ms: int = 0
    fault: bytes = b""


GOODBYE = Rejection(0, Reason.NOT_READY, "this silo is leaving and takes no more requests")
"""Of no request: the accepting side refuses all that come from now on. The opening side ends the stream when it has
all answers, so that nothing on its way is lost."""


class Cancel(msgspec.Struct, gc=False):
    """The caller of request `id` gave up: drop it if it still waits."""

    id: int


class Status(msgspec.Struct, gc=False):
    """What became of request `id` so far, for the caller's time-out message ("queued at 3", "running for 12 s")."""

    id: int
    text: str


Message = Request | Response | Rejection | Cancel | Status
