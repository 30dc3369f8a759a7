"""The messages of membership: probes, direct and through a third silo, and views after a change. Pure.

They are questions and answers of system targets (`runtime/system_target.py`) or of the probe line, encoded as
MessagePack. New fields are added at the end, with defaults; unknown fields are ignored.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from grange.membership.model.member import View
from grange.proto.ids import SiloAddress

PROBE_SERVICE = "membership.probe"
"""Asks whether a silo answers. Question `Probe`, answer `ProbeReply`."""

PROBE_FOR_SERVICE = "membership.probe_for"
"""Asks a silo to probe another one. Question `IndirectProbeRequest`, answer `IndirectProbeReply`."""

LOOK_SERVICE = "membership.look"
"""Asks a silo whether another one has crashed. Question `Look`, answer `LookReply`."""

FETCH_SERVICE = "membership.fetch"
"""Asks for the newest view of a silo. Question empty, answer `Announcement`."""

VIEW_SERVICE = "membership.view"
"""Announces a view after a change of the table. Question `Announcement`, answer empty."""

Version = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A version of the table. Bounded, because a rebuilt table starts above the highest version that a message named."""


class Probe(msgspec.Struct, frozen=True, array_like=True):
    """A probe of a silo.

    `version` is that of the prober's view. `mutual`: the prober got the answer to its previous probe. The probed silo
    then knows that its answers arrive.
    """

    version: Version
    prober: SiloAddress
    mutual: bool = False


class ProbeReply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a `Probe`. `silo` is the answering generation, which may differ from the one that was asked.

    `version` is that of its view, `lag` the seconds by which its event loop is behind, `score` its local health (0 is
    healthy).
    """

    silo: SiloAddress
    version: Version
    lag: float = 0.0
    score: int = 0


class IndirectProbeRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks a third silo to probe `target` once, within `timeout` seconds. A joining silo sends its own address."""

    target: SiloAddress
    timeout: float


class IndirectProbeReply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to an `IndirectProbeRequest`. `silo` is the third silo; `reached`: the target answered it.

    `score` is the local health of the third silo; one with a score above 0 may be cut off itself.
    """

    silo: SiloAddress
    reached: bool
    score: int


class Look(msgspec.Struct, frozen=True, array_like=True):
    """Asks a silo to look whether `target`, a silo of its view, has crashed."""

    target: SiloAddress


class LookReply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a `Look`. `silo` is the one that looked.

    `refused`: the ports of the target refuse its connections. `gone`: it is on the host of the target, whose process
    has ended.
    """

    silo: SiloAddress
    refused: bool
    gone: bool


class Announcement(msgspec.Struct, frozen=True):
    """The view after a change, with the incarnation of the table it was read from.

    `row_format` is `ROW_FORMAT` of the silo that sends it; 0: a release before there was one.
    """

    incarnation: str
    view: View
    row_format: int = 0


_encoder = msgspec.msgpack.Encoder()
_probes = msgspec.msgpack.Decoder(Probe)
_replies = msgspec.msgpack.Decoder(ProbeReply)
_probes_for = msgspec.msgpack.Decoder(IndirectProbeRequest)
_probed_for = msgspec.msgpack.Decoder(IndirectProbeReply)
_looks = msgspec.msgpack.Decoder(Look)
_look_replies = msgspec.msgpack.Decoder(LookReply)
_announcements = msgspec.msgpack.Decoder(Announcement)

Message = Probe | ProbeReply | IndirectProbeRequest | IndirectProbeReply | Look | LookReply | Announcement


def encode(message: Message) -> bytes:
    """Encode a message."""
    return _encoder.encode(message)


def decode_probe(data: bytes) -> Probe:
    """Decode a `Probe`. Raises `msgspec.MsgspecError` (a ValueError) for other bytes."""
    return _probes.decode(data)


def decode_reply(data: bytes) -> ProbeReply:
    """Decode a `ProbeReply`. Raises `msgspec.MsgspecError` (a ValueError) for other bytes."""
    return _replies.decode(data)


def decode_probe_for(data: bytes) -> IndirectProbeRequest:
    """Decode an `IndirectProbeRequest`. Raises `msgspec.MsgspecError` (a ValueError) for other bytes."""
    return _probes_for.decode(data)


def decode_probed_for(data: bytes) -> IndirectProbeReply:
    """Decode an `IndirectProbeReply`. Raises `msgspec.MsgspecError` (a ValueError) for other bytes."""
    return _probed_for.decode(data)


def decode_look(data: bytes) -> Look:
    """Decode a `Look`. Raises `msgspec.MsgspecError` (a ValueError) for other bytes."""
    return _looks.decode(data)


def decode_look_reply(data: bytes) -> LookReply:
    """Decode a `LookReply`. Raises `msgspec.MsgspecError` (a ValueError) for other bytes."""
    return _look_replies.decode(data)


def decode_announcement(data: bytes) -> Announcement:
    """Decode an `Announcement`. Raises `msgspec.MsgspecError` (a ValueError) for other bytes."""
    return _announcements.decode(data)
