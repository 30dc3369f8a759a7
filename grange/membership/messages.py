"""What silos say to each other about membership: probes, and views spread after a change. Pure.

They are questions and answers of system targets (`runtime/system_target.py`), as MessagePack of these
structs. Fields may be added with defaults; unknown ones are ignored.
"""

from __future__ import annotations

import msgspec

from grange.membership.member import View
from grange.proto.ids import SiloAddress

PROBE_SERVICE = "membership.probe"
"""Do you answer? Question `Probe`, answer `ProbeReply`."""

VIEW_SERVICE = "membership.view"
"""I have changed the table. Question `Announcement`, answer empty."""


class Probe(msgspec.Struct, frozen=True):
    """Asked of a silo to learn whether it answers; `version` is of the asker's view."""

    version: int


class ProbeReply(msgspec.Struct, frozen=True):
    """`silo` is who really answers: another generation at the same endpoint is not the one asked."""

    silo: SiloAddress
    version: int


class Announcement(msgspec.Struct, frozen=True):
    """The view after a change, with the incarnation of the table it was read from."""

    incarnation: str
    view: View


_encoder = msgspec.msgpack.Encoder()
_probes = msgspec.msgpack.Decoder(Probe)
_replies = msgspec.msgpack.Decoder(ProbeReply)
_announcements = msgspec.msgpack.Decoder(Announcement)


def encode(message: Probe | ProbeReply | Announcement) -> bytes:
    """The message as bytes."""
    return _encoder.encode(message)


def decode_probe(data: bytes) -> Probe:
    """Raises `msgspec.MsgspecError` (a ValueError) for anything else."""
    return _probes.decode(data)


def decode_reply(data: bytes) -> ProbeReply:
    """Raises `msgspec.MsgspecError` (a ValueError) for anything else."""
    return _replies.decode(data)


def decode_announcement(data: bytes) -> Announcement:
    """Raises `msgspec.MsgspecError` (a ValueError) for anything else."""
    return _announcements.decode(data)
